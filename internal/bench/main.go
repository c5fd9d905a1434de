// Bench measures what the programs cost, beside yardsticks that do the least that such a program can do, and
// prints one table of medians. All programs of a table take turns, so that other work on the machine affects each.
//
//	go run ./internal/bench [--quick] [--binaries FOLDER,...] [sidecar] [webhook] [relay] [flood] [rules] [prometheus] [list]
//
// To compare with an earlier commit, build that commit and give both folders: --binaries bin/amd64,../before/bin/amd64.
// It needs root.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/internal/testkit"
)

// bench holds what all measurements need.
type bench struct {
	quick bool
	// binaries are folders with sidecar, supervisor, webhook and relay; a table has a column for each.
	binaries []string
	// folder is for the files of one run; other users can read it.
	folder string
}

// parts are the measurements, in the order of the output.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) (*table, error)
}{
	{"sidecar", (*bench).sidecar},
	{"webhook", (*bench).webhook},
	{"relay", (*bench).relay},
	{"flood", (*bench).flood},
	{"rules", (*bench).rules},
	{"prometheus", (*bench).prometheusMemory},
	{"list", (*bench).list},
}

func main() {
	var names []string
	for _, part := range parts {
		names = append(names, part.name)
	}
	b := &bench{}
	root := &cobra.Command{
		Use:       "bench [sidecar] [webhook] [relay] [flood] [rules] [prometheus] [list]",
		Short:     "Measure speed and memory beside yardsticks",
		ValidArgs: names,
		Args:      cobra.OnlyValidArgs,
		RunE:      func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args) },
	}
	root.Flags().BoolVar(&b.quick, "quick", false, "measure only a little, to see that it works")
	root.Flags().StringSliceVar(&b.binaries, "binaries", nil, "folders with the programs to compare; the default builds them")
	root.AddCommand(&cobra.Command{
		Use:    yardstickCommand + " ADDRESS CERTIFICATE KEY [PAGE]",
		Hidden: true,
		Args:   cobra.RangeArgs(3, 4),
		RunE: func(_ *cobra.Command, args []string) error {
			return serveYardstick(args[0], args[1], args[2], args[3:])
		},
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(commandline.Run(ctx, root, os.Args[1:], os.Stdout, os.Stderr))
}

// run measures the named parts, or all.
func (b *bench) run(ctx context.Context, names []string) (err error) {
	if b.folder, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if err := os.Chmod(b.folder, 0o755); err != nil {
		return err
	}
	packages := []string{"./internal/bench/gauge"}
	if len(b.binaries) == 0 {
		b.binaries = []string{b.folder}
		packages = append(packages, "./sidecar", "./sidecar/supervisor", "./webhook", "./relay")
	}
	progress("building")
	if err := testkit.Build(ctx, b.folder, packages...); err != nil {
		return err
	}
	for _, part := range parts {
		if len(names) > 0 && !slices.Contains(names, part.name) {
			continue
		}
		began := time.Now()
		table, err := part.measure(b, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Printf("\n%s, medians, measured in %s\n\n", part.name, time.Since(began).Round(time.Second))
		if err := table.write(os.Stdout); err != nil {
			return err
		}
	}
	return nil
}

// columns are the names of the table's columns: one for each folder of binaries, and the yardstick's.
func (b *bench) columns(yardstick string) []string {
	if len(b.binaries) == 1 {
		return []string{"now", yardstick}
	}
	return append(slices.Clone(b.binaries), yardstick)
}

// sizes adds the size of a program in each folder of binaries, and that of the yardstick's, if it has a file.
func (b *bench) sizes(t *table, program, yardstick string) error {
	files := []string{}
	for _, folder := range b.binaries {
		files = append(files, filepath.Join(folder, program))
	}
	if yardstick != "" {
		files = append(files, filepath.Join(b.folder, yardstick))
	}
	for i, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		t.add(i, program+": stripped binary", megabytes, float64(info.Size()))
	}
	return nil
}

// pick returns short with --quick, otherwise long.
func pick[T any](b *bench, long, short T) T {
	if b.quick {
		return short
	}
	return long
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+" …\n", args...) }

// pause waits, or returns the error of a context that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

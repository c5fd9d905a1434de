// Bench floods every port of the product, each program in a cgroup with its container's
// memory limit, and prints what that came to.
//
//	go run ./internal/bench/flood [--quick] [--binaries FOLDER]
//
// It needs root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"kubevirt-hypervisor-exporter/internal/testkit/flood"
)

func main() {
	quick := flag.Bool("quick", false, "as the other benches; the floods take no longer without it")
	binaries := flag.String("binaries", "", "folder with other binaries of sidecar, webhook and relay")
	flag.Parse()
	_ = *quick
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *binaries); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, binaries string) (err error) {
	cases, err := flood.Cases()
	if err != nil {
		return err
	}
	runner, err := flood.NewRunner(ctx, binaries)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runner.Close()) }()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "flood\tmemory limit\tpeak\tpeak without page cache\tkills\tlost\tverdict")
	for _, c := range cases {
		fmt.Fprintf(os.Stderr, "flooding %s …\n", c.Name)
		result, err := runner.Run(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%.0f\t%s\t%s\n", c.Name, mebibytes(result.Limit), mebibytes(result.Peak),
			mebibytes(result.Anonymous), result.Kills, lost(result.Works), verdict(result))
	}
	return table.Flush()
}

func lost(works []flood.WorkResult) string {
	var all []string
	for _, w := range works {
		all = append(all, fmt.Sprintf("%s %d of %d", w.Name, w.Lost, w.Asked))
	}
	return strings.Join(all, ", ")
}

func verdict(result flood.Result) string {
	if err := result.Err(); err != nil {
		return "over: " + err.Error()
	}
	return "ok"
}

func mebibytes(bytes float64) string { return fmt.Sprintf("%.1f MiB", bytes/(1<<20)) }

// Bench measures what the sidecar costs beside a VM, against two yardsticks (see
// floor and mini), and prints one table. A target that is missed is told in the
// table; it is no failure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// options is what the command line says.
type options struct {
	quick      bool
	sweep      bool
	only       string
	sidecar    string
	gogc       string
	gomemlimit string
}

// environment is what the webhook sets for the Go runtime.
func (o options) environment() []string {
	return []string{"GOMAXPROCS=1", "GOGC=" + o.gogc, "GOMEMLIMIT=" + o.gomemlimit}
}

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "shorter phases, rougher numbers")
	flag.BoolVar(&o.sweep, "sweep", false, "instead, compare settings of GOGC and GOMEMLIMIT")
	flag.StringVar(&o.only, "only", "", "only the phase of that name: "+phaseNames())
	flag.StringVar(&o.sidecar, "sidecar", "", "measure this binary instead of building one")
	flag.StringVar(&o.gogc, "gogc", "10", "GOGC for all programs")
	flag.StringVar(&o.gomemlimit, "gomemlimit", "12MiB", "GOMEMLIMIT for all programs")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	b, err := newBench(ctx, o, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if o.sweep {
		return b.sweep(ctx, os.Stdout)
	}
	rows, err := b.measure(ctx, o.only)
	if err != nil {
		return err
	}
	fmt.Printf("\nGOMAXPROCS=1 GOGC=%s GOMEMLIMIT=%s; medians of interleaved runs\n\n", o.gogc, o.gomemlimit)
	return write(os.Stdout, rows)
}

// Bench measures the webhook beside its targets: admissions over TLS beside a
// yardstick that only decodes and answers, the memory of the real binary after
// many of them, and the binary's size.
//
//	go run ./internal/bench/webhook [--quick]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// The targets.
const (
	maxOverYardstick = 1.5
	maxP99At8        = 3 * time.Millisecond
	maxResident      = 25 << 20
	maxBinary        = 20_000_000
)

func main() {
	quick := flag.Bool("quick", false, "fewer admissions: a smoke test, not a measurement")
	fixtures := flag.String("fixtures", "webhook/inject/testdata", "folder with pods")
	yardstick := flag.String("yardstick", "", "serve as the yardstick on this address (the bench starts itself so)")
	cert := flag.String("cert", "", "the yardstick's certificate file")
	key := flag.String("key", "", "the yardstick's key file")
	flag.Parse()
	if *yardstick != "" {
		fmt.Fprintln(os.Stderr, serveYardstick(*yardstick, *cert, *key))
		os.Exit(1)
	}
	if err := run(context.Background(), os.Stdout, *fixtures, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// plan is how much is measured.
type plan struct {
	rounds     int
	perRound   int
	admissions int
}

func run(ctx context.Context, out io.Writer, fixtures string, quick bool) error {
	p := plan{rounds: 7, perRound: 4000, admissions: 100_000}
	if quick {
		p = plan{rounds: 3, perRound: 500, admissions: 5_000}
	}
	review, err := largestReview(fixtures)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "webhook-bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, size, err := build(ctx, dir)
	if err != nil {
		return err
	}
	pair, err := newKeyPair(dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "fixture %s, review of %d bytes; medians of %d rounds of %d admissions\n\n", review.name, len(review.of(0)), p.rounds, p.perRound)
	missed, err := compare(ctx, out, p, binary, pair, review)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nbinary, stripped: %.1f MB (target %.0f)\n", float64(size)/1e6, maxBinary/1e6)
	if size > maxBinary {
		missed = append(missed, errors.New("the binary is larger than its target"))
	}
	memory, err := endurance(ctx, out, p, binary, pair, review)
	if err != nil {
		return err
	}
	for _, miss := range append(missed, memory...) {
		fmt.Fprintln(out, "over:", miss)
	}
	return nil
}

// compare prints the table of latencies and says which targets were missed.
func compare(ctx context.Context, out io.Writer, p plan, binary string, pair keyPair, review *template) ([]error, error) {
	webhook, err := startWebhook(ctx, binary, pair)
	if err != nil {
		return nil, err
	}
	defer webhook.stop()
	yardstick, err := startYardstick(ctx, pair)
	if err != nil {
		return nil, err
	}
	defer yardstick.stop()
	if err := remember(ctx, out, webhook, pair, review); err != nil {
		return nil, err
	}

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "at once\twebhook p50\tp99\tper s\tyardstick p50\tp99\tper s\tp99 ratio\t")
	var missed []error
	for _, atOnce := range []int{1, 8, 64} {
		ours, theirs, err := measure(ctx, p, webhook.url, yardstick.url, pair, review, atOnce)
		if err != nil {
			return nil, err
		}
		ratio := float64(ours.p99) / float64(theirs.p99)
		fmt.Fprintf(table, "%d\t%s\t%s\t%.0f\t%s\t%s\t%.0f\t%.2f\t\n", atOnce,
			micro(ours.p50), micro(ours.p99), ours.rate, micro(theirs.p50), micro(theirs.p99), theirs.rate, ratio)
		if ratio > maxOverYardstick {
			missed = append(missed, fmt.Errorf("p99 at %d at once is %.2f times the yardstick's, target %.1f", atOnce, ratio, maxOverYardstick))
		}
		if atOnce == 8 && ours.p99 > maxP99At8 {
			missed = append(missed, fmt.Errorf("p99 at 8 at once is %s, target %s", ours.p99, maxP99At8))
		}
	}
	return missed, table.Flush()
}

// remembered is how many VMs the webhook knows while it is measured (package refusals).
const remembered = 10_000

// remember creates the pods of that many VMs, twice each, and prints what the webhook's memory grows by.
func remember(ctx context.Context, out io.Writer, webhook *target, pair keyPair, review *template) error {
	var posted atomic.Int64
	one := func() []byte { return review.of(1<<32 + posted.Add(1)/2) }
	if _, err := load(ctx, webhook.url, pair, review.next, 8, 2*remembered); err != nil { // what the process grows by anyway
		return err
	}
	before, err := webhook.resident()
	if err != nil {
		return err
	}
	if _, err := load(ctx, webhook.url, pair, one, 8, 2*remembered); err != nil {
		return err
	}
	after, err := webhook.resident()
	fmt.Fprintf(out, "VmRSS: %.1f MiB; with the pods of %d VMs, seen twice: %.1f MiB\n\n", float64(before)/(1<<20), remembered, float64(after)/(1<<20))
	return err
}

func micro(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// endurance prints the resident memory of a fresh process as admissions go by.
func endurance(ctx context.Context, out io.Writer, p plan, binary string, pair keyPair, review *template) ([]error, error) {
	webhook, err := startWebhook(ctx, binary, pair)
	if err != nil {
		return nil, err
	}
	defer webhook.stop()
	const parts = 5
	var resident []int64
	for part := range parts {
		if _, err := load(ctx, webhook.url, pair, review.next, 8, p.admissions/parts); err != nil {
			return nil, err
		}
		bytes, err := webhook.resident()
		if err != nil {
			return nil, err
		}
		resident = append(resident, bytes)
		fmt.Fprintf(out, "VmRSS after %d admissions: %.1f MiB\n", (part+1)*p.admissions/parts, float64(bytes)/(1<<20))
	}
	var missed []error
	if last := resident[parts-1]; last > maxResident {
		missed = append(missed, fmt.Errorf("resident memory is %.1f MiB, target %d", float64(last)/(1<<20), maxResident>>20))
	}
	// Flat: the second half adds no more than a megabyte.
	if growth := resident[parts-1] - resident[parts/2]; growth > 1<<20 {
		missed = append(missed, fmt.Errorf("resident memory still grows: %d KiB in the second half", growth>>10))
	}
	return missed, nil
}

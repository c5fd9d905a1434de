// Bench measures what the relay adds to a scrape and what it costs a node with 250
// VMs. The sidecars are stand-ins: their real exposition handler on 250 Unix sockets
// in the bench's own process, as 250 processes would measure the machine. The relay
// is its binary, a process of its own, over plain HTTP and without authorization.
//
//	go run ./relay/bench [--quick]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"kubevirt-hypervisor-exporter/relay/podtest"
)

// The targets.
const (
	pods        = 250
	interval    = 15 * time.Second
	maxAdded    = time.Millisecond
	maxCore     = 0.005
	maxResident = 40 << 20
	maxBinary   = 20e6
)

func main() {
	quick := flag.Bool("quick", false, "half a minute instead of five: a smoke test, not a measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, quick bool) (err error) {
	steady, rounds := 5*time.Minute, 200
	if quick {
		steady, rounds = 30*time.Second, 20
	}
	dir, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binary, size, err := build(ctx, dir)
	if err != nil {
		return err
	}
	crowd, err := newCrowd(podtest.Kubelet{Dir: filepath.Join(dir, "pods")}, pods)
	if err != nil {
		return err
	}
	defer crowd.close()
	relay, err := startRelay(ctx, binary, crowd.dir)
	if err != nil {
		return err
	}
	defer relay.stop()

	fmt.Fprintf(os.Stderr, "scraping %d pods every %v for %v …\n", pods, interval, steady)
	calm, err := relay.steady(ctx, crowd, steady)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "scraping as fast as it goes, in turn with the sockets themselves …\n")
	fast, err := relay.fast(ctx, crowd, rounds)
	if err != nil {
		return err
	}
	return write(out, size, calm, fast)
}

// write prints the table.
func write(out io.Writer, size int64, calm calmSeen, fast fastSeen) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(measure, value, target string, ok bool) {
		verdict := "ok"
		switch {
		case target == "":
			verdict = ""
		case !ok:
			verdict = "over"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", measure, value, target, verdict)
	}
	added50, added99 := fast.relay.at(0.5)-fast.direct.at(0.5), fast.relay.at(0.99)-fast.direct.at(0.99)
	fmt.Fprintln(table, "measure\trelay\ttarget\tverdict")
	line("stripped binary", fmt.Sprintf("%.1f MB", float64(size)/1e6), "≤ 20 MB", size <= maxBinary)
	line("250 pods every 15 s: scrapes that failed", fmt.Sprint(calm.failed), "0", calm.failed == 0)
	line("250 pods every 15 s: latency p50, p99", fmt.Sprintf("%s, %s", micro(calm.took.at(0.5)), micro(calm.took.at(0.99))), "", true)
	line("250 pods every 15 s: CPU per scrape", micro(calm.cpuPerScrape), "", true)
	line("250 pods every 15 s: CPU", fmt.Sprintf("%.3f %% of a core", 100*calm.core), "< 0.5 %", calm.core < maxCore)
	line("250 pods every 15 s: most resident", mebibytes(calm.resident), "≤ 40 MiB", calm.resident <= maxResident)
	line("250 pods every 15 s: descriptors, least and most", fmt.Sprintf("%d, %d", calm.leastFiles, calm.mostFiles), "", true)
	line("as fast as it goes: socket itself p50, p99", fmt.Sprintf("%s, %s", micro(fast.direct.at(0.5)), micro(fast.direct.at(0.99))), "", true)
	line("as fast as it goes: relay p50, p99", fmt.Sprintf("%s, %s", micro(fast.relay.at(0.5)), micro(fast.relay.at(0.99))), "", true)
	line("as fast as it goes: added at p50", micro(added50), "", true)
	line("as fast as it goes: added at p99", micro(added99), "≤ 1 ms", added99 <= maxAdded)
	line("as fast as it goes: CPU per scrape", micro(fast.cpuPerScrape), "", true)
	line("16 at once: scrapes per second", fmt.Sprintf("%.0f", fast.perSecond), "", true)
	line("16 at once: resident afterwards", mebibytes(fast.resident), "≤ 40 MiB", fast.resident <= maxResident)
	line("16 at once: descriptors before and after", fmt.Sprintf("%d, %d", fast.filesBefore, fast.filesAfter), "flat", fast.filesAfter <= fast.filesBefore)
	return table.Flush()
}

func micro(d time.Duration) string { return fmt.Sprintf("%.0f µs", d.Seconds()*1e6) }

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

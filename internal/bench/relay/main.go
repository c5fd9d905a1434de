// Bench measures what the relay adds to a scrape and what it costs a node with 250
// VMs. The relay is its binary, a process of its own, with TLS and authorization as
// it is installed; a stub answers for the API server. The sidecars are stand-ins:
// their real exposition handler on 250 Unix sockets in the bench's own process, as
// 250 processes would measure the machine. Beside it stand the sockets themselves
// and two yardsticks: a plain Go server of the same page, over TLS and without. What
// they cost is what this machine takes for waking up and answering; see plain.
//
//	go run ./internal/bench/relay [--quick]
//
// It wants root, to put the stub's authority where the kubelet mounts the real one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// How much is measured.
const (
	pods     = 250
	interval = 15 * time.Second
)

// A length is how often all take turns, how long the relay and each of the others is
// scraped every 15 s in a turn, and how often all pods are scraped at once.
type length struct {
	turns         int
	relay, others time.Duration
	rounds        int
}

var (
	full  = length{turns: 5, relay: time.Minute, others: 20 * time.Second, rounds: 200}
	rough = length{turns: 2, relay: 12 * time.Second, others: 4 * time.Second, rounds: 20}
)

func main() {
	quick := flag.Bool("quick", false, "about a minute instead of eleven: a smoke test, not a measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	long := full
	if *quick {
		long = rough
	}
	if err := run(ctx, os.Stdout, long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, long length) (err error) {
	dir, err := os.MkdirTemp("", "relay-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := newStand(ctx, dir)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.measure(ctx, long); err != nil {
		return err
	}
	return s.write(out)
}

// measure lets the contestants take turns: whatever else the machine does then meets
// all of them.
func (s *stand) measure(ctx context.Context, long length) error {
	for turn := range long.turns {
		for _, c := range s.contestants() {
			duration := long.others
			if c == s.relay {
				duration = long.relay
			}
			fmt.Fprintf(os.Stderr, "turn %d of %d: scraping %s, %d pods every %v, for %v …\n", turn+1, long.turns, c.name, pods, interval, duration)
			if err := c.calmly(ctx, s.crowd.uids, duration); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(os.Stderr, "scraping all of them as fast as it goes …")
	for range long.rounds {
		for _, c := range s.contestants() {
			if err := errors.Join(ctx.Err(), c.fast(s.crowd.uids)); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "scraping the relay by %d at once …\n", atOnce)
	return s.relay.byMany(s.crowd.uids, max(1, long.rounds/atOnce))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// containerLimits are those that the webhook gives the sidecar's container, but for the
// CPU: the kubelet's quota of a tenth.
var containerLimits = memlimit.Limits{Memory: 24 << 20, CPU: 0.1}

// crowd lets many scrape at once a sidecar that lives in a small cgroup.
func (b *bench) crowd(ctx context.Context) (rows []row, err error) {
	group, err := memlimit.New(memlimit.Mount, containerLimits)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, group.Remove()) }()
	p := b.sidecar()
	if p.binary, err = coldCopy(p.binary, b.path("cold-sidecar")); err != nil {
		return nil, err
	}
	s, err := p.start(group)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	started, err := s.await(ctx, p.want)
	if err != nil {
		return nil, err
	}
	seen := scrapeAtOnce(ctx, s, b.size.crowd)
	use, err := group.Use()
	if err != nil {
		return nil, errors.Join(err, s.ended())
	}
	return b.crowdRows(started, seen, use), errors.Join(seen.firstError, s.ended())
}

func (b *bench) crowdRows(started time.Duration, seen crowdSeen, use memlimit.Use) []row {
	const where = "24 MiB, 0.1 CPU: "
	return []row{
		{measure: where + "start, binary not in page cache", unit: milliseconds, values: []float64{started.Seconds()}},
		{measure: where + "OOM kills", target: atMost(0), values: []float64{use.Kills}},
		{measure: where + "failed scrapes", target: atMost(0), values: []float64{seen.failed}},
		{measure: where + "scrapes per second", values: []float64{float64(len(seen.took)) / b.size.crowd.Seconds()}},
		{measure: where + "scrape p50", unit: milliseconds, values: []float64{quantile(seen.took, 0.5)}},
		{measure: where + "scrape p99", unit: milliseconds, values: []float64{quantile(seen.took, 0.99)}},
		{measure: where + "slowest scrape", unit: milliseconds, values: []float64{quantile(seen.took, 1)}},
		{measure: where + "most memory, page cache included", unit: mebibytes, values: []float64{use.Peak}},
		{measure: where + "times at the memory limit", values: []float64{use.Failures}},
	}
}

// coldCopy copies a binary and drops the copy from the page cache: its pages then
// count for the group that runs it, as those of a container's image do.
func coldCopy(from, to string) (path string, err error) {
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := io.Copy(target, source); err != nil {
		return "", err
	}
	if err := target.Sync(); err != nil {
		return "", err
	}
	return to, unix.Fadvise(int(target.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// crowdSeen is what all scrapers together saw.
type crowdSeen struct {
	took       []time.Duration
	failed     float64
	firstError error
}

func scrapeAtOnce(ctx context.Context, s *process, length time.Duration) crowdSeen {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var (
		all  crowdSeen
		mu   sync.Mutex
		each sync.WaitGroup
	)
	for range crowdSize {
		each.Go(func() {
			seen := scrapeUntil(ctx, s)
			mu.Lock()
			defer mu.Unlock()
			all.took = append(all.took, seen.took...)
			all.failed += seen.failed
			if all.firstError == nil {
				all.firstError = seen.firstError
			}
		})
	}
	each.Wait()
	return all
}

// scrapeUntil is one of the crowd. A scraper that failed connects anew, as
// Prometheus would.
func scrapeUntil(ctx context.Context, s *process) (seen crowdSeen) {
	for ctx.Err() == nil {
		err := scrapeUntilFailure(ctx, s, &seen)
		if err == nil {
			continue
		}
		seen.failed++
		if seen.firstError == nil {
			seen.firstError = err
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return seen
		}
	}
	return seen
}

func scrapeUntilFailure(ctx context.Context, s *process, seen *crowdSeen) error {
	scraper, err := newScraper(s.address, true)
	if err != nil {
		return err
	}
	defer scraper.close()
	for ctx.Err() == nil {
		took, err := scraper.scrape()
		if err != nil {
			return err
		}
		page, err := scraper.page()
		if err != nil {
			return err
		}
		if !strings.Contains(page, s.want) {
			return fmt.Errorf("a page without %s", s.want)
		}
		seen.took = append(seen.took, took)
	}
	return nil
}

// quantile is in seconds; that of nothing is none.
func quantile(took []time.Duration, q float64) float64 {
	if len(took) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(q*float64(len(sorted)-1))].Seconds()
}

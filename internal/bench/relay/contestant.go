package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// atOnce is how many scrapers there are where many scrape at once.
const atOnce = 16

// A contestant is what is scraped, and what was seen of it.
type contestant struct {
	name   string
	scrape func(podsocket.UID) (time.Duration, error)
	// process is nil for the sockets themselves, which the bench serves.
	process *process

	calm, hasty seen
	together    crowdSeen
}

// seen is what came of scrapes one after the other.
type seen struct {
	took                  latencies
	failed                int
	cpu, length           time.Duration
	resident              int64
	leastFiles, mostFiles int
}

// cpuPerScrape is 0 where no process was measured.
func (s *seen) cpuPerScrape() time.Duration { return s.cpu / time.Duration(max(1, len(s.took))) }

// core is the part of one core that was used.
func (s *seen) core() float64 { return s.cpu.Seconds() / s.length.Seconds() }

// calmly scrapes each pod once an interval, spread over it as Prometheus does: each
// scrape finds the process asleep.
func (c *contestant) calmly(ctx context.Context, uids []podsocket.UID, length time.Duration) error {
	ticker := time.NewTicker(interval / time.Duration(len(uids)))
	defer ticker.Stop()
	return c.account(&c.calm, func() error {
		began := time.Now()
		for i := 0; time.Since(began) < length; i++ {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ticker.C:
			}
			took, err := c.scrape(uids[i%len(uids)])
			if err != nil {
				c.calm.failed++
				continue
			}
			c.calm.took = append(c.calm.took, took)
			if err := c.look(); err != nil {
				return err
			}
		}
		return nil
	})
}

// fast scrapes each pod once, without a pause.
func (c *contestant) fast(uids []podsocket.UID) error {
	return c.account(&c.hasty, func() error {
		for _, uid := range uids {
			took, err := c.scrape(uid)
			if err != nil {
				return err
			}
			c.hasty.took = append(c.hasty.took, took)
		}
		return nil
	})
}

// account adds what the process spends and how long it takes.
func (c *contestant) account(s *seen, scrapes func() error) error {
	before, err := c.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := scrapes(); err != nil {
		return err
	}
	after, err := c.cpu()
	s.cpu += after - before
	s.length += time.Since(began)
	return err
}

func (c *contestant) cpu() (time.Duration, error) {
	if c.process == nil {
		return 0, nil
	}
	return c.process.cpu()
}

// look notes memory and descriptors.
func (c *contestant) look() error {
	if c.process == nil {
		return nil
	}
	resident, err := c.process.resident()
	if err != nil {
		return err
	}
	files, err := c.process.files()
	if err != nil {
		return err
	}
	s := &c.calm
	if s.leastFiles == 0 {
		s.leastFiles = files
	}
	s.resident = max(s.resident, resident)
	s.leastFiles, s.mostFiles = min(s.leastFiles, files), max(s.mostFiles, files)
	return nil
}

// crowdSeen is what came of many scrapers at once.
type crowdSeen struct {
	perSecond               float64
	resident                int64
	filesBefore, filesAfter int
}

// byMany scrapes by many at once, twice: descriptors must not grow.
func (c *contestant) byMany(uids []podsocket.UID, rounds int) (err error) {
	s := &c.together
	for _, files := range []*int{&s.filesBefore, &s.filesAfter} {
		began := time.Now()
		var all sync.WaitGroup
		failures := make([]error, atOnce)
		for i := range atOnce {
			// Each begins with another pod: together at one they would meet its bound.
			from := i * len(uids) / atOnce
			all.Go(func() { failures[i] = c.rounds(uids, from, rounds) })
		}
		all.Wait()
		if err := errors.Join(failures...); err != nil {
			return err
		}
		s.perSecond = float64(atOnce*rounds*len(uids)) / time.Since(began).Seconds()
		if *files, err = c.process.files(); err != nil {
			return err
		}
	}
	s.resident, err = c.process.resident()
	return err
}

// rounds scrapes all pods again and again, the one at from first.
func (c *contestant) rounds(uids []podsocket.UID, from, rounds int) error {
	for i := range rounds * len(uids) {
		if _, err := c.scrape(uids[(from+i)%len(uids)]); err != nil {
			return err
		}
	}
	return nil
}

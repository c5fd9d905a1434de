package main

import (
	"context"
	"fmt"
	"time"
)

// A samples holds one number a round, for each program.
type samples struct {
	latency []time.Duration
	cpu     []time.Duration
}

// scrapes measures latency and CPU time of a scrape, with and without gzip.
func (b *bench) scrapes(ctx context.Context) ([]row, error) {
	running, stop, err := b.runAll(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var rows []row
	for _, compressed := range []bool{false, true} {
		all, err := b.rounds(ctx, running, compressed)
		if err != nil {
			return rows, err
		}
		encoding := "plain"
		if compressed {
			encoding = "gzip"
		}
		latency := row{measure: "scrape, " + encoding + ": latency p50", unit: microseconds, target: timesFloor(1.2)}
		cpu := row{measure: "scrape, " + encoding + ": CPU", unit: microseconds, target: timesFloor(1.2)}
		for _, s := range all {
			latency.values = append(latency.values, median(s.latency)/float64(time.Second))
			cpu.values = append(cpu.values, median(s.cpu)/float64(time.Second))
		}
		rows = append(rows, latency, cpu)
	}
	return rows, nil
}

// rounds lets the programs take turns, so that whatever else the machine does
// meets all of them.
func (b *bench) rounds(ctx context.Context, running []*process, compressed bool) ([]samples, error) {
	all := make([]samples, len(running))
	scrapers := make([]*scraper, len(running))
	for i, s := range running {
		var err error
		if scrapers[i], err = newScraper(s.address, compressed); err != nil {
			return nil, err
		}
		defer scrapers[i].close()
		if _, err := scrapeMany(scrapers[i], b.size.batch); err != nil { // to warm up
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for range b.size.rounds {
		for i, s := range running {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := all[i].add(s, scrapers[i], b.size.batch); err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return all, nil
}

func (s *samples) add(p *process, scraper *scraper, batch int) error {
	before, err := cpuTime(p.pid())
	if err != nil {
		return err
	}
	took, err := scrapeMany(scraper, batch)
	if err != nil {
		return err
	}
	after, err := cpuTime(p.pid())
	if err != nil {
		return err
	}
	s.latency = append(s.latency, time.Duration(median(took)))
	s.cpu = append(s.cpu, (after-before)/time.Duration(batch))
	return nil
}

package main

import (
	"context"
	"fmt"
	"time"
)

// What the sidecar may hold, in bytes.
const (
	maxAnonymous = 5 << 20
	maxResident  = 16 << 20
)

// residents measures memory after many scrapes, in fresh processes.
func (b *bench) residents(ctx context.Context) ([]row, error) {
	held := make([][]memory, len(b.programs))
	for range b.size.residents {
		for i, p := range b.programs {
			m, err := afterManyScrapes(ctx, p)
			if err != nil {
				return nil, err
			}
			held[i] = append(held[i], m)
		}
	}
	return memoryRows("after 1,000 scrapes", held), nil
}

func afterManyScrapes(ctx context.Context, p program) (m memory, err error) {
	s, err := p.run(ctx)
	if err != nil {
		return m, err
	}
	defer s.stop()
	if err := scrapeTimes(s, manyScrapes); err != nil {
		return m, err
	}
	return readMemory(s.pid())
}

func scrapeTimes(s *process, times int) error {
	scraper, err := newScraper(s.address, true)
	if err != nil {
		return err
	}
	defer scraper.close()
	if _, err := scrapeMany(scraper, times); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func memoryRows(when string, held [][]memory) []row {
	anonymous := row{measure: "RssAnon " + when, unit: mebibytes, target: atMost(maxAnonymous)}
	resident := row{measure: "VmRSS " + when, unit: mebibytes, target: atMost(maxResident)}
	for _, of := range held {
		var a, r []float64
		for _, m := range of {
			a, r = append(a, m.anonymous), append(r, m.resident)
		}
		anonymous.values = append(anonymous.values, median(a))
		resident.values = append(resident.values, median(r))
	}
	return []row{anonymous, resident}
}

// faults kills and restarts libvirt again and again under a sidecar that is being
// scraped (1,000 times in all), and measures its memory then.
func (b *bench) faults(ctx context.Context) ([]row, error) {
	s, err := b.sidecar().run(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	for range b.size.faults {
		if err := b.fault(ctx, s); err != nil {
			return nil, err
		}
	}
	m, err := readMemory(s.pid())
	return memoryRows(fmt.Sprintf("after %d libvirtds died", b.size.faults), [][]memory{{m}}), err
}

// fault ends when the sidecar has found libvirt again.
func (b *bench) fault(ctx context.Context, s *process) error {
	if err := b.daemon.Kill(); err != nil {
		return err
	}
	s.started = time.Now()
	if _, err := s.await(ctx, "libvirt_up 0"); err != nil {
		return err
	}
	if err := b.daemon.Restart(ctx); err != nil {
		return err
	}
	if _, err := s.await(ctx, "libvirt_up 1"); err != nil {
		return err
	}
	return scrapeTimes(s, manyScrapes/b.size.faults)
}

package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// A setting is one of the garbage collector's that could be the webhook's.
type setting struct{ gogc, gomemlimit string }

// settings are compared by sweep; the first is Go's default.
func settings() []setting {
	all := []setting{{"100", "off"}}
	for _, gogc := range []string{"50", "25", "10"} {
		all = append(all, setting{gogc, "off"})
	}
	for _, limit := range []string{"16MiB", "12MiB", "10MiB", "8MiB", "6MiB"} {
		all = append(all, setting{"25", limit}, setting{"off", limit})
	}
	return all
}

// sweep shows what each setting costs the sidecar in CPU and saves it in memory.
func (b *bench) sweep(ctx context.Context, w io.Writer) error {
	cpu := make([]samples, len(settings()))
	held := make([][]memory, len(settings()))
	for range b.size.residents {
		for i, s := range settings() {
			b.say("GOGC=%s GOMEMLIMIT=%s", s.gogc, s.gomemlimit)
			if err := b.trySetting(ctx, s, &cpu[i], &held[i]); err != nil {
				return err
			}
		}
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "GOGC\tGOMEMLIMIT\tRssAnon\tVmRSS\tCPU per scrape\tlatency p50")
	for i, s := range settings() {
		rows := memoryRows("", [][]memory{held[i]})
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.gogc, s.gomemlimit,
			mebibytes.format(rows[0].value(0)), mebibytes.format(rows[1].value(0)),
			microseconds.format(median(cpu[i].cpu)/float64(time.Second)), microseconds.format(median(cpu[i].latency)/float64(time.Second)))
	}
	return table.Flush()
}

func (b *bench) trySetting(ctx context.Context, s setting, cpu *samples, held *[]memory) error {
	p := b.sidecar()
	p.env = append(append([]string{}, p.env...), options{gogc: s.gogc, gomemlimit: s.gomemlimit}.environment()...)
	running, err := p.run(ctx)
	if err != nil {
		return err
	}
	defer running.stop()
	scraper, err := newScraper(running.address, true)
	if err != nil {
		return err
	}
	defer scraper.close()
	if _, err := scrapeMany(scraper, manyScrapes); err != nil {
		return err
	}
	m, err := readMemory(running.pid())
	if err != nil {
		return err
	}
	*held = append(*held, m)
	for range b.size.rounds {
		if err := cpu.add(running, scraper, b.size.batch); err != nil {
			return err
		}
	}
	return nil
}

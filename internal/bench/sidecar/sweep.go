package main

import (
	"context"
	"fmt"
	"io"
	"slices"
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
	held := make([][]memory, len(settings()))
	for range b.size.residents {
		for i, s := range settings() {
			b.say("memory with GOGC=%s GOMEMLIMIT=%s", s.gogc, s.gomemlimit)
			m, err := afterManyScrapes(ctx, b.with(s))
			if err != nil {
				return err
			}
			held[i] = append(held[i], m)
		}
	}
	b.say("scraping in turn")
	cpu, err := b.compare(ctx)
	if err != nil {
		return err
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

// compare runs a sidecar with each setting and lets them take turns.
func (b *bench) compare(ctx context.Context) ([]samples, error) {
	var running []*process
	defer func() {
		for _, s := range running {
			s.stop()
		}
	}()
	for _, s := range settings() {
		p, err := b.with(s).run(ctx)
		if err != nil {
			return nil, err
		}
		running = append(running, p)
	}
	return b.rounds(ctx, running, true)
}

// with is the sidecar with a setting.
func (b *bench) with(s setting) program {
	p := b.sidecar()
	p.env = slices.Concat(p.env, options{gogc: s.gogc, gomemlimit: s.gomemlimit}.environment())
	return p
}

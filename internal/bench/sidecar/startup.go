package main

import (
	"context"
	"time"
)

// maxStart is what the sidecar may take to its first correct page.
const maxStart = 100 * time.Millisecond

// starts measures the time from a process's start to its first correct page.
func (b *bench) starts(ctx context.Context) ([]row, error) {
	took := make([][]time.Duration, len(b.programs))
	for range b.size.starts {
		for i, p := range b.programs {
			t, err := startTime(ctx, p)
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], t)
		}
	}
	r := row{measure: "start to first correct scrape", unit: milliseconds, target: below(maxStart.Seconds())}
	for _, times := range took {
		r.values = append(r.values, median(times)/float64(time.Second))
	}
	return []row{r}, nil
}

func startTime(ctx context.Context, p program) (time.Duration, error) {
	s, err := p.start(nil)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	return s.await(ctx, p.want)
}

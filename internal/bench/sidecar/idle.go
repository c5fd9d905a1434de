package main

import (
	"context"
	"fmt"
	"time"
)

// settling is what a process is given to fall silent after its start. The sidecar reads
// the domains again and again for 12.7 s after it has connected.
const settling = 15 * time.Second

// idles counts how often the processes wake up while nobody asks them anything.
func (b *bench) idles(ctx context.Context) ([]row, error) {
	running, stop, err := b.runAll(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	if err := pause(ctx, settling); err != nil {
		return nil, err
	}
	before, err := switchesOf(running)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, b.size.idle); err != nil {
		return nil, err
	}
	after, err := switchesOf(running)
	if err != nil {
		return nil, err
	}
	r := row{measure: "voluntary context switches, idle, per 60 s", target: atMost(60)}
	for i := range after {
		r.values = append(r.values, b.perMinute(after[i]-before[i]))
	}
	return []row{r}, nil
}

func switchesOf(running []*process) ([]float64, error) {
	var all []float64
	for _, s := range running {
		n, err := voluntarySwitches(s.pid())
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func (b *bench) perMinute(n float64) float64 {
	return n * float64(time.Minute) / float64(b.size.idle)
}

// packets counts what an idle sidecar and libvirt have to say to each other. It is
// a phase of its own: a counter on the way wakes both.
func (b *bench) packets(ctx context.Context) ([]row, error) {
	meter, err := newMeter(b.path("virtqemud-sock"), b.daemon.Socket(), b.daemon.UID())
	if err != nil {
		return nil, err
	}
	defer meter.close()
	s, err := b.on(meter.path).run(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := pause(ctx, settling); err != nil {
		return nil, err
	}
	before := meter.read()
	if err := pause(ctx, b.size.idle); err != nil {
		return nil, err
	}
	after := meter.read()
	if err := meter.failure(); err != nil {
		return nil, fmt.Errorf("count packets: %w", err)
	}
	return []row{
		{measure: "RPC packets, idle, per 60 s", target: atMost(0), values: []float64{b.perMinute(after.rpc - before.rpc)}},
		{measure: "keepalive packets, idle, per 60 s", values: []float64{b.perMinute(after.keepalive - before.keepalive)}},
	}, nil
}

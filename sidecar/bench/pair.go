package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// What the supervisor may be and hold.
const (
	maxSupervisorSize      = 1.6e6
	maxSupervisorAnonymous = 1 << 20
)

// pair measures the sidecar as its container runs it, under the supervisor. What
// the cgroup is charged for is the anonymous memory of both; the files' pages are
// shared by all containers of the image.
func (b *bench) pair(ctx context.Context) ([]row, error) {
	supervisor, err := build(ctx, b.folder, "supervisor", "sidecar/supervisor")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(supervisor)
	if err != nil {
		return nil, err
	}
	p := b.sidecar()
	args := p.args
	p.name, p.args = "pair", func(address string) []string { return append([]string{p.binary}, args(address)...) }
	p.env = append([]string{}, p.env...)
	exporter := p.binary
	p.binary = supervisor
	p.args = func(address string) []string { return append([]string{exporter}, args(address)...) }

	var took []time.Duration
	for range b.size.starts {
		t, err := startTime(ctx, p)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	s, err := p.run(ctx)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := scrapeTimes(s, manyScrapes); err != nil {
		return nil, err
	}
	own, child, err := pairMemory(s.pid())
	if err != nil {
		return nil, err
	}
	switches, err := b.idleSwitches(ctx, s.pid())
	if err != nil {
		return nil, err
	}
	one := func(measure string, unit unit, target target, value float64) row {
		return row{measure: measure, unit: unit, target: target, values: []float64{value}}
	}
	return []row{
		one("supervisor: stripped binary", megabytes, atMost(maxSupervisorSize), float64(info.Size())),
		one("supervisor: RssAnon", mebibytes, atMost(maxSupervisorAnonymous), own.anonymous),
		one("supervisor: VmRSS", mebibytes, nil, own.resident),
		one("supervisor: voluntary context switches, idle, per 60 s", switchesUnit, nil, switches),
		one("pair: RssAnon of both", mebibytes, nil, own.anonymous+child.anonymous),
		one("pair: start to first correct scrape", milliseconds, below(maxStart.Seconds()), median(took)/float64(time.Second)),
	}, nil
}

// pairMemory is the supervisor's and its child's.
func pairMemory(pid int) (own, child memory, err error) {
	if own, err = readMemory(pid); err != nil {
		return own, child, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return own, child, err
	}
	childPID, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return own, child, fmt.Errorf("the supervisor's child: %w", err)
	}
	child, err = readMemory(childPID)
	return own, child, err
}

// idleSwitches counts how often one process wakes up while nothing happens.
func (b *bench) idleSwitches(ctx context.Context, pid int) (float64, error) {
	if err := pause(ctx, settling); err != nil {
		return 0, err
	}
	before, err := voluntarySwitches(pid)
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, b.size.idle); err != nil {
		return 0, err
	}
	after, err := voluntarySwitches(pid)
	return b.perMinute(after - before), err
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	p := b.underSupervisor(supervisor)
	var took []time.Duration
	for range b.size.starts {
		t, err := startTime(ctx, p)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
	}
	rows, err := b.heldByPair(ctx, p)
	return append(rows,
		row{measure: "supervisor: stripped binary", unit: megabytes, target: atMost(maxSupervisorSize), values: []float64{float64(info.Size())}},
		row{measure: "pair: start to first correct scrape", unit: milliseconds, target: below(maxStart.Seconds()), values: []float64{median(took) / float64(time.Second)}},
	), err
}

// underSupervisor is the sidecar as the image runs it.
func (b *bench) underSupervisor(supervisor string) program {
	p := b.sidecar()
	sidecar, args := p.binary, p.args
	p.name, p.binary = "pair", supervisor
	p.args = func(address string) []string { return append([]string{sidecar}, args(address)...) }
	return p
}

// heldByPair measures memory after many scrapes, and wake-ups after that.
func (b *bench) heldByPair(ctx context.Context, p program) ([]row, error) {
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
	return []row{
		{measure: "supervisor: RssAnon", unit: mebibytes, target: atMost(maxSupervisorAnonymous), values: []float64{own.anonymous}},
		{measure: "supervisor: VmRSS", unit: mebibytes, values: []float64{own.resident}},
		{measure: "supervisor: voluntary context switches, idle, per 60 s", unit: count, values: []float64{switches}},
		{measure: "pair: RssAnon of both", unit: mebibytes, values: []float64{own.anonymous + child.anonymous}},
	}, err
}

// pairMemory is the supervisor's and its child's.
func pairMemory(pid int) (own, child memory, err error) {
	if own, err = readMemory(pid); err != nil {
		return own, child, err
	}
	childPID, err := onlyChild(pid)
	if err != nil {
		return own, child, err
	}
	child, err = readMemory(childPID)
	return own, child, err
}

func onlyChild(pid int) (int, error) {
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	var all []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			return 0, err
		}
		all = append(all, strings.Fields(string(text))...)
	}
	if len(all) != 1 {
		return 0, fmt.Errorf("process %d has %d children, not one", pid, len(all))
	}
	return strconv.Atoi(all[0])
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

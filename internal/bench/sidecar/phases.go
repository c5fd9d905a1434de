package main

import (
	"context"
	"fmt"
	"strings"
)

// A phase measures some rows of the table.
type phase struct {
	name    string
	what    string
	measure func(*bench, context.Context) ([]row, error)
}

// phases are in the order of the table. Faults come last but one: they restart libvirt.
func phases() []phase {
	return []phase{
		{"size", "looking at the binaries", (*bench).sizes},
		{"scrape", "scraping in turn", (*bench).scrapes},
		{"memory", "scraping 1,000 times", (*bench).residents},
		{"start", "starting again and again", (*bench).starts},
		{"pair", "running the sidecar under its supervisor", (*bench).pair},
		{"idle", "idling", (*bench).idles},
		{"packets", "counting packets on the way to libvirt", (*bench).packets},
		{"faults", "killing libvirt again and again", (*bench).faults},
		{"crowd", "scraping by twenty in a small cgroup", (*bench).crowd},
	}
}

func phaseNames() string {
	var names []string
	for _, p := range phases() {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// measure runs all phases, or the only one. A phase that fails leaves a row that
// says so; the others run nevertheless.
func (b *bench) measure(ctx context.Context, only string) ([]row, error) {
	var rows []row
	for _, p := range phases() {
		if only != "" && only != p.name {
			continue
		}
		b.say("%s", p.what)
		measured, err := p.measure(b, ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		rows = append(rows, measured...)
		if err != nil {
			rows = append(rows, row{measure: p.name, failed: err})
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no phase %q; there are: %s", only, phaseNames())
	}
	return rows, nil
}

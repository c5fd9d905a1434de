package main

import (
	"context"
	"errors"
	"fmt"

	"kubevirt-hypervisor-exporter/internal/testkit/flood"
)

// flood floods every port of the product, each program in a cgroup with its container's memory limit. It has no
// yardstick, and takes as long with --quick: a flood ends when the honest clients have asked for all that they ask for.
func (b *bench) flood(ctx context.Context) (t *table, err error) {
	cases, err := flood.Cases()
	if err != nil {
		return nil, err
	}
	t = newTable(b.columns("memory limit"))
	for column, binaries := range b.binaries {
		runner, err := flood.NewRunner(ctx, binaries)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, runner.Close()) }()
		for _, c := range cases {
			progress("flood: %s", c.Name)
			result, err := runner.Run(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
			memory := c.Name + ": peak memory without page cache"
			t.add(column, memory, mebibytes, result.Anonymous)
			t.add(len(t.columns)-1, memory, mebibytes, result.Limit)
			lost := 0
			for _, w := range result.Works {
				lost += w.Lost + w.Late
			}
			t.add(column, c.Name+": requests lost", count, float64(lost))
			if err := result.Err(); err != nil {
				progress("%s: over its limits: %v", c.Name, err)
			}
		}
	}
	return t, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// cgroupMount is where the cgroups are on every distribution with systemd, and in
// containers.
const cgroupMount = "/sys/fs/cgroup"

// cgroupPrefix names the bench's groups, so that those a killed bench has left
// can be told from others.
const cgroupPrefix = "sidecar-bench-"

// Limits of the cgroup: those the webhook gives the sidecar's container.
const (
	memoryLimit = 24 << 20
	// cpuQuota out of each cpuPeriod, as the kubelet does it: a tenth of a CPU.
	cpuQuota  = 10 * time.Millisecond
	cpuPeriod = 100 * time.Millisecond
)

// A cgroup limits memory and CPU of the processes in it.
type cgroup struct {
	// memory and cpu are its folders: one and the same with cgroup v2.
	memory, cpu string
	names       cgroupNames
}

// cgroupNames are the files that differ between the versions of cgroups.
type cgroupNames struct {
	limits []limit
	peak   string
	// failures and kills are a file and the key in it, or no key where the file
	// is the number.
	failures, kills cgroupField
}

// A limit is a value to be written. An optional one is not on every machine.
type limit struct {
	ofCPU       bool
	file, value string
	optional    bool
}

type cgroupField struct{ file, key string }

// cgroupUse is what a group's processes came to: bytes, times at the limit, and
// kills for lack of memory.
type cgroupUse struct{ peak, failures, kills float64 }

func namesV1() cgroupNames {
	return cgroupNames{
		limits: []limit{
			{file: "memory.limit_in_bytes", value: strconv.Itoa(memoryLimit)},
			{file: "memory.memsw.limit_in_bytes", value: strconv.Itoa(memoryLimit), optional: true},
			{ofCPU: true, file: "cpu.cfs_period_us", value: micros(cpuPeriod)},
			{ofCPU: true, file: "cpu.cfs_quota_us", value: micros(cpuQuota)},
		},
		peak:     "memory.max_usage_in_bytes",
		failures: cgroupField{file: "memory.failcnt"},
		kills:    cgroupField{"memory.oom_control", "oom_kill"},
	}
}

func namesV2() cgroupNames {
	return cgroupNames{
		limits: []limit{
			{file: "memory.max", value: strconv.Itoa(memoryLimit)},
			{file: "memory.swap.max", value: "0", optional: true},
			{ofCPU: true, file: "cpu.max", value: micros(cpuQuota) + " " + micros(cpuPeriod)},
		},
		peak:     "memory.peak",
		failures: cgroupField{"memory.events", "max"},
		kills:    cgroupField{"memory.events", "oom_kill"},
	}
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// newCgroup makes a limited group; it must be removed, after its processes ended.
func newCgroup(mount string) (*cgroup, error) {
	name := cgroupPrefix + strconv.Itoa(os.Getpid())
	g := &cgroup{memory: filepath.Join(mount, "memory", name), cpu: filepath.Join(mount, "cpu", name), names: namesV1()}
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		g = &cgroup{memory: filepath.Join(mount, name), cpu: filepath.Join(mount, name), names: namesV2()}
		if err := os.WriteFile(filepath.Join(mount, "cgroup.subtree_control"), []byte("+memory +cpu"), 0o644); err != nil {
			return nil, fmt.Errorf("let cgroups limit memory and CPU: %w", err)
		}
	}
	for _, folder := range g.folders() {
		sweepCgroups(filepath.Dir(folder))
	}
	if err := g.make(); err != nil {
		return nil, errors.Join(fmt.Errorf("make a cgroup (run the bench as root on a machine with cgroups): %w", err), g.removeNow())
	}
	return g, nil
}

func (g *cgroup) folders() []string {
	if g.memory == g.cpu {
		return []string{g.memory}
	}
	return []string{g.memory, g.cpu}
}

// procs are the files that a process enters the group by.
func (g *cgroup) procs() []string {
	var files []string
	for _, folder := range g.folders() {
		files = append(files, filepath.Join(folder, "cgroup.procs"))
	}
	return files
}

func (g *cgroup) make() error {
	for _, folder := range g.folders() {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	for _, l := range g.names.limits {
		folder := g.memory
		if l.ofCPU {
			folder = g.cpu
		}
		// No O_CREATE: a file that is not there is a limit that the kernel does not know.
		file, err := os.OpenFile(filepath.Join(folder, l.file), os.O_WRONLY, 0)
		if l.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = file.WriteString(l.value)
		if err = errors.Join(err, file.Close()); err != nil {
			return fmt.Errorf("limit %s to %s: %w", l.file, l.value, err)
		}
	}
	return nil
}

func (g *cgroup) use() (u cgroupUse, err error) {
	for _, f := range []struct {
		field cgroupField
		to    *float64
	}{{cgroupField{file: g.names.peak}, &u.peak}, {g.names.failures, &u.failures}, {g.names.kills, &u.kills}} {
		text, err := os.ReadFile(filepath.Join(g.memory, f.field.file))
		if err != nil {
			return u, err
		}
		if *f.to, err = f.field.parse(text); err != nil {
			return u, fmt.Errorf("%s: %w", f.field.file, err)
		}
	}
	return u, nil
}

// remove removes the group once the kernel has seen its last process end.
func (g *cgroup) remove() error {
	// The context of the bench may have ended; this must be done nevertheless.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for {
		err := g.removeNow()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		if pause(ctx, 10*time.Millisecond) != nil {
			return err
		}
	}
}

func (g *cgroup) removeNow() error {
	var errs []error
	for _, folder := range g.folders() {
		if err := syscall.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
}

// sweepCgroups removes empty groups that a killed bench has left.
func sweepCgroups(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, cgroupPrefix+"*")) // the pattern is well-formed
	for _, folder := range left {
		syscall.Rmdir(folder) //nolint:errcheck // a group that is in use stays
	}
}

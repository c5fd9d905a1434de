// Package memlimit runs programs in cgroups with the limits of a container, on machines
// with cgroup v1 and v2. It needs root.
package memlimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Mount is where the cgroups are on every distribution with systemd, and in containers.
const Mount = "/sys/fs/cgroup"

// prefix begins the names of our groups. The process that made a group follows it, so that groups of a killed
// test can be found.
const prefix = "hypervisor-exporter-test-"

// Limits are those of a container.
type Limits struct {
	// Memory in bytes.
	Memory int64
	// CPU in CPUs; 0 is no limit.
	CPU float64
}

// A Group limits the processes in it.
type Group struct {
	// memory and cpu are the group's folders: one and the same with cgroup v2.
	memory, cpu string
	version     version
}

// Use is what a group's processes have used.
type Use struct {
	// Peak is the most memory in bytes, page cache included.
	Peak float64
	// Failures is how often the limit was reached.
	Failures float64
	// Kills is how often the kernel killed for lack of memory.
	Kills float64
}

// A version is what differs between the versions of cgroups.
type version struct {
	settings                         func(Limits) []setting
	peak, failures, kills, anonymous field
}

// A setting is a value to be written. Not every machine has an optional one.
type setting struct {
	file, value   string
	optional, cpu bool
}

// A field is a file and the key in it, or no key if the file is the number.
type field struct{ file, key string }

// cpuPeriod is the kubelet's, in microseconds, and the kernel's default.
const cpuPeriod = 100_000

func number(n int64) string { return strconv.FormatInt(n, 10) }

func quota(l Limits) string { return number(int64(l.CPU * cpuPeriod)) }

var v1 = version{
	settings: func(l Limits) []setting {
		all := []setting{
			{file: "memory.limit_in_bytes", value: number(l.Memory)},
			{file: "memory.memsw.limit_in_bytes", value: number(l.Memory), optional: true},
		}
		if l.CPU > 0 {
			all = append(all, setting{file: "cpu.cfs_quota_us", value: quota(l), cpu: true})
		}
		return all
	},
	peak:      field{file: "memory.max_usage_in_bytes"},
	failures:  field{file: "memory.failcnt"},
	kills:     field{"memory.oom_control", "oom_kill"},
	anonymous: field{"memory.stat", "rss"},
}

var v2 = version{
	settings: func(l Limits) []setting {
		all := []setting{
			{file: "memory.max", value: number(l.Memory)},
			{file: "memory.swap.max", value: "0", optional: true},
		}
		if l.CPU > 0 {
			all = append(all, setting{file: "cpu.max", value: quota(l) + " " + number(cpuPeriod), cpu: true})
		}
		return all
	},
	peak:      field{file: "memory.peak"},
	failures:  field{"memory.events", "max"},
	kills:     field{"memory.events", "oom_kill"},
	anonymous: field{"memory.stat", "anon"},
}

// count distinguishes the groups of one process.
var count atomic.Int64

// New makes a group below the mount (see Mount). The caller must remove it after its
// processes have ended.
func New(mount string, limits Limits) (*Group, error) {
	name := prefix + strconv.Itoa(os.Getpid()) + "-" + number(count.Add(1))
	g := &Group{memory: filepath.Join(mount, "memory", name), cpu: filepath.Join(mount, "cpu", name), version: v1}
	if isV2(mount) {
		g = &Group{memory: filepath.Join(mount, name), cpu: filepath.Join(mount, name), version: v2}
		if err := delegate(mount); err != nil {
			return nil, err
		}
	}
	if err := g.make(limits); err != nil {
		return nil, errors.Join(fmt.Errorf("make a cgroup (run as root on a machine where cgroups can be made): %w", err), g.removeNow())
	}
	return g, nil
}

// isV2 reports whether cgroup v2 limits memory here. If v1 does, v2 may be
// mounted too, without controllers.
func isV2(mount string) bool {
	text, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	return err == nil && strings.Contains(string(text), "memory")
}

func (g *Group) folders() []string {
	if g.memory == g.cpu {
		return []string{g.memory}
	}
	return []string{g.memory, g.cpu}
}

func (g *Group) make(limits Limits) error {
	for _, folder := range g.folders() {
		sweep(filepath.Dir(folder))
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	for _, s := range g.version.settings(limits) {
		folder := g.memory
		if s.cpu {
			folder = g.cpu
		}
		if err := s.write(folder); err != nil {
			return err
		}
	}
	return nil
}

// write does not create the file: one that does not exist is a limit that the kernel does
// not know.
func (s setting) write(folder string) error {
	file, err := os.OpenFile(filepath.Join(folder, s.file), os.O_WRONLY, 0)
	if s.optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(s.value)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("limit %s to %s: %w", s.file, s.value, err)
	}
	return nil
}

// Command returns a command line that runs the given one in the group.
func (g *Group) Command(command ...string) []string {
	const script = `while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit; shift; done; shift; exec "$@"`
	full := append([]string{"sh", "-c", script, "sh"}, g.folders()...)
	return append(append(full, "--"), command...)
}

// Use reads what the processes have used so far.
func (g *Group) Use() (Use, error) {
	peak, err := g.read(g.version.peak)
	failures, err2 := g.read(g.version.failures)
	kills, err3 := g.read(g.version.kills)
	return Use{Peak: peak, Failures: failures, Kills: kills}, errors.Join(err, err2, err3)
}

// Anonymous returns how much memory the processes have now in bytes, without page cache.
func (g *Group) Anonymous() (float64, error) { return g.read(g.version.anonymous) }

func (g *Group) read(f field) (float64, error) {
	text, err := os.ReadFile(filepath.Join(g.memory, f.file))
	if err != nil {
		return 0, err
	}
	return f.parse(text)
}

// parse finds the field's number in the text of its file: in the line that begins with
// the key, or the whole text if there is no key.
func (f field) parse(text []byte) (float64, error) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		switch {
		case f.key == "" && len(words) == 1:
			return strconv.ParseFloat(string(words[0]), 64)
		case f.key != "" && len(words) == 2 && string(words[0]) == f.key:
			return strconv.ParseFloat(string(words[1]), 64)
		}
	}
	return 0, fmt.Errorf("%s: no number for %q", f.file, f.key)
}

// Remove removes the group once the kernel has seen its last process end.
func (g *Group) Remove() error {
	// The caller's context may have ended; this must be done nevertheless.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := g.removeNow()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (g *Group) removeNow() error {
	var errs []error
	for _, folder := range g.folders() {
		if err := syscall.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", folder, err))
		}
	}
	return errors.Join(errs...)
}

// sweep removes empty groups that a killed test has left.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, prefix+"*")) // the pattern is well-formed
	for _, folder := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), prefix), "-")
		if _, err := os.Stat("/proc/" + pid); err != nil {
			_ = syscall.Rmdir(folder) // a group with processes stays
		}
	}
}

// delegate lets groups below the mount limit memory and CPU. In a container the mount is
// the container's own group, which must have no processes then (cgroups(7), "no internal
// processes"): they move to a group of their own.
func delegate(mount string) error {
	enable := func() error {
		return os.WriteFile(filepath.Join(mount, "cgroup.subtree_control"), []byte("+memory +cpu"), 0o644)
	}
	err := enable()
	if errors.Is(err, syscall.EBUSY) {
		if err = moveProcesses(mount, filepath.Join(mount, "others")); err == nil {
			err = enable()
		}
	}
	if err != nil {
		return fmt.Errorf("let cgroups limit memory and CPU: %w", err)
	}
	return nil
}

func moveProcesses(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	text, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(text)) {
		err := os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(pid), 0o644)
		if err != nil && !errors.Is(err, syscall.ESRCH) { // it may have ended
			return fmt.Errorf("move process %s to %s: %w", pid, to, err)
		}
	}
	return nil
}

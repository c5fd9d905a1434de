// Package memlimit runs programs in cgroups with the limits of a container, on machines
// with cgroup v1 and v2. It needs root.
package memlimit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Mount is where the cgroups are on every distribution with systemd, and in containers.
const Mount = "/sys/fs/cgroup"

// prefix names our groups, so that those that a killed test has left can be told from
// others.
const prefix = "hypervisor-exporter-test-"

// cpuPeriod is the kubelet's.
const cpuPeriod = 100 * time.Millisecond

// Limits are those of a container.
type Limits struct {
	// Memory in bytes.
	Memory int64
	// CPU in CPUs; 0 is no limit.
	CPU float64
}

// A Group limits the processes in it.
type Group struct {
	// folders are the group's: one with cgroup v2, one per controller with v1.
	memory, cpu string
	version     version
}

// Use is what a group's processes came to.
type Use struct {
	// Peak is the most memory in bytes, page cache included.
	Peak float64
	// Failures is how often the limit was met.
	Failures float64
	// Kills is how often the kernel killed for lack of memory.
	Kills float64
}

// count tells the groups of one process apart.
var count atomic.Int64

// New makes a group below the mount (see Mount). The caller must remove it after its
// processes have ended.
func New(mount string, limits Limits) (*Group, error) {
	name := prefix + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(count.Add(1), 10)
	g, err := newGroup(mount, name)
	if err != nil {
		return nil, err
	}
	for _, folder := range g.folders() {
		sweep(filepath.Dir(folder))
	}
	if err := g.make(limits); err != nil {
		return nil, errors.Join(fmt.Errorf("make a cgroup (run as root on a machine where cgroups can be made): %w", err), g.removeNow())
	}
	return g, nil
}

func newGroup(mount, name string) (*Group, error) {
	if !isV2(mount) {
		return &Group{memory: filepath.Join(mount, "memory", name), cpu: filepath.Join(mount, "cpu", name), version: v1()}, nil
	}
	folder := filepath.Join(mount, name)
	return &Group{memory: folder, cpu: folder, version: v2()}, delegate(mount)
}

func (g *Group) folders() []string {
	if g.memory == g.cpu {
		return []string{g.memory}
	}
	return []string{g.memory, g.cpu}
}

// Procs are the files that a process enters the group by.
func (g *Group) Procs() []string {
	var files []string
	for _, folder := range g.folders() {
		files = append(files, filepath.Join(folder, "cgroup.procs"))
	}
	return files
}

// Command returns a command line that runs the given one in the group.
func (g *Group) Command(command ...string) []string {
	const script = `while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done; shift; exec "$@"`
	full := append([]string{"sh", "-c", script, "sh"}, g.Procs()...)
	return append(append(full, "--"), command...)
}

func (g *Group) make(limits Limits) error {
	for _, folder := range g.folders() {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	for _, s := range g.version.settings(limits) {
		folder := g.memory
		if s.ofCPU {
			folder = g.cpu
		}
		if err := s.write(folder); err != nil {
			return err
		}
	}
	return nil
}

// write does not create the file: one that is not there is a limit that the kernel does
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

// Use reads what the processes have come to so far.
func (g *Group) Use() (u Use, err error) {
	for _, f := range []struct {
		field field
		to    *float64
	}{{g.version.peak, &u.Peak}, {g.version.failures, &u.Failures}, {g.version.kills, &u.Kills}} {
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

// Anonymous is how much memory the processes have now in bytes, without page cache.
func (g *Group) Anonymous() (float64, error) {
	text, err := os.ReadFile(filepath.Join(g.memory, g.version.anonymous.file))
	if err != nil {
		return 0, err
	}
	return g.version.anonymous.parse(text)
}

// Remove removes the group once the kernel has seen its last process end.
func (g *Group) Remove() error {
	// The caller's context may have ended; this must be done nevertheless.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := g.removeNow()
		if !errors.Is(err, syscall.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
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
		if !alive(folder) {
			_ = syscall.Rmdir(folder) // one that is in use stays
		}
	}
}

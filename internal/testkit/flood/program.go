package flood

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// patience bounds every wait for something that is bound to happen.
const patience = 30 * time.Second

// A World has the binaries and what they need. Its floods may run one after the other.
type World struct {
	root, folder string
	// Binaries is the folder with sidecar, webhook and relay.
	Binaries string
}

// NewWorld builds the programs as the Makefile does, unless binaries is a folder with
// them. It must be closed.
func NewWorld(ctx context.Context, binaries string) (*World, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "flood-")
	if err != nil {
		return nil, err
	}
	w := &World{root: root, folder: folder, Binaries: binaries}
	if binaries != "" {
		return w, nil
	}
	w.Binaries = folder
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "nethttpomithttp2", "-ldflags", "-s -w", "-o", folder, "./sidecar", "./webhook", "./relay")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build the programs: %w\n%s", err, output), w.Close())
	}
	return w, nil
}

// Close removes the world's folder.
func (w *World) Close() error { return os.RemoveAll(w.folder) }

// A program is a running one in a group of its own, with the ports that a flood meets.
type program struct {
	process *testkit.Process
	group   *memlimit.Group
	limits  memlimit.Limits
	// ports are where attacks go, by name.
	ports map[string]port
	// works are what must go on beside them.
	works []namedWork
	// closers are called in the reverse order, after the process has ended.
	closers []func()
}

// A port is a listening address and how to speak there.
type port struct {
	network, address string
	encrypted        bool
}

// start starts a binary in a group with the container's limits.
func (w *World) start(p *program, c container, wrap func(command ...string) ([]string, error), binary string, args ...string) error {
	path, err := coldCopy(filepath.Join(w.Binaries, binary), w.folder)
	if err != nil {
		return err
	}
	p.limits = c.limits
	if p.group, err = memlimit.New(memlimit.Mount, c.limits); err != nil {
		return err
	}
	command := append([]string{path}, args...)
	if wrap != nil {
		if command, err = wrap(command...); err != nil {
			return err
		}
	}
	command = p.group.Command(command...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), c.environment...)
	p.process, err = testkit.Start(filepath.Join(w.folder, binary+".log"), cmd)
	return err
}

// stop ends the program and removes its group.
func (p *program) stop() error {
	var errs []error
	if p.process != nil {
		p.process.Kill()
	}
	if p.group != nil {
		errs = append(errs, p.group.Remove())
	}
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
	return errors.Join(errs...)
}

// coldCopy copies a binary and drops the copy from the page cache: its pages then
// count for the group that runs it, as those of a container's image do.
func coldCopy(from, folder string) (path string, err error) {
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer func() { _ = source.Close() }()
	target, err := os.CreateTemp(folder, "cold-"+filepath.Base(from)+"-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if _, err := io.Copy(target, source); err != nil {
		return "", err
	}
	if err := errors.Join(target.Chmod(0o755), target.Sync()); err != nil {
		return "", err
	}
	return target.Name(), unix.Fadvise(int(target.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// freePorts are ports that nobody listened on a moment ago, no two the same.
func freePorts(n int) ([]string, error) {
	var ports []string
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

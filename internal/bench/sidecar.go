package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

const (
	// settling is how long a sidecar gets to become idle. It reads the domains several times in the first 12.7 s.
	settling = 15 * time.Second
	// scrapes is how many scrapes a process has answered when its memory is read again.
	scrapes = 1000
	// batch is how many scrapes make one sample of CPU and latency.
	batch = 200
)

// sidecar measures the sidecar under its supervisor, as the image runs it, beside a real libvirt with a VM.
func (b *bench) sidecar(ctx context.Context) (t *table, err error) {
	progress("sidecar: starting libvirt with a VM")
	daemon, err := libvirttest.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.Close()) }()
	guest := libvirttest.Guest{Namespace: "bench", Name: "vm", Type: libvirttest.TCG, Program: libvirttest.Idle}
	if _, err := daemon.Run(ctx, guest); err != nil {
		return nil, err
	}
	// libvirt probes every emulator for its first answer to this, for up to a minute: not while something is measured.
	if _, err := daemon.Virsh(ctx, "version"); err != nil {
		return nil, err
	}
	t = newTable(b.columns("static gauge"))
	if err := errors.Join(b.sizes(t, "sidecar", "gauge"), b.sizes(t, "supervisor", "")); err != nil {
		return nil, err
	}
	if err := b.look(ctx, t, daemon, guest.Name); err != nil {
		return nil, err
	}
	repeats := pick(b, 5, 1)
	for i := range repeats {
		progress("sidecar: run %d of %d", i+1, repeats)
		if err := b.sidecarOnce(ctx, t, daemon); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// look measures how long the code of this checkout reads the XML of a domain that runs, which each look at it does.
func (b *bench) look(ctx context.Context, t *table, daemon *libvirttest.Daemon, domain string) error {
	xml, err := daemon.Virsh(ctx, "dumpxml", "bench_"+domain)
	if err != nil {
		return err
	}
	for range pick(b, 1000, 10) {
		began := time.Now()
		if described := hypervisor.Describe(strings.NewReader(xml)); described.Err != nil {
			return described.Err
		}
		t.add(0, fmt.Sprintf("reading XML of %d bytes", len(xml)), micro, time.Since(began).Seconds())
	}
	return nil
}

// sidecarOnce measures a fresh process of each program.
func (b *bench) sidecarOnce(ctx context.Context, t *table, daemon *libvirttest.Daemon) error {
	servers, stop, err := startAll(t, func(column int) (*server, error) { return b.startSidecar(ctx, column, daemon) })
	defer stop()
	if err != nil {
		return err
	}
	if err := b.atRest(ctx, t, servers); err != nil {
		return err
	}
	for range scrapes / batch {
		for column, s := range servers {
			took, cpu, err := s.load(ctx, 1, batch)
			if err != nil {
				return err
			}
			t.add(column, "scrape: latency p50", micro, quantile(took, 0.5))
			t.add(column, "scrape: CPU", micro, cpu)
		}
	}
	return t.addMemory(fmt.Sprintf("after %d scrapes", scrapes), servers)
}

// atRest measures memory and wake-ups while nothing happens, the supervisor's as well.
func (b *bench) atRest(ctx context.Context, t *table, servers []*server) error {
	type process struct {
		column int
		prefix string
		pid    int
		before reading
	}
	var all []*process
	for column, s := range servers {
		all = append(all, &process{column: column, pid: s.pid})
		if supervisor := s.process.Pid(); supervisor != s.pid {
			all = append(all, &process{column: column, prefix: "supervisor: ", pid: supervisor})
		}
	}
	if err := pause(ctx, settling); err != nil {
		return err
	}
	var err error
	for _, p := range all {
		if p.before, err = read(p.pid); err != nil {
			return err
		}
	}
	idle := pick(b, time.Minute, 10*time.Second)
	if err := pause(ctx, idle); err != nil {
		return err
	}
	for _, p := range all {
		after, err := read(p.pid)
		if err != nil {
			return err
		}
		perMinute := (after.wakeups - p.before.wakeups) / idle.Minutes()
		t.add(p.column, p.prefix+"wake-ups a minute, idle", count, perMinute)
		t.add(p.column, p.prefix+"RssAnon at rest", mebibytes, after.anonymous)
		t.add(p.column, p.prefix+"VmRSS at rest", mebibytes, after.resident)
	}
	return nil
}

// startSidecar starts the sidecar of a column, or the yardstick in the last: as libvirt's user, with the image's
// environment.
func (b *bench) startSidecar(ctx context.Context, column int, daemon *libvirttest.Daemon) (*server, error) {
	address, err := testkit.Address()
	if err != nil {
		return nil, err
	}
	s := &server{client: keyPair{}.client(), header: scrapeHeader(""), want: "gauge_info 1"}
	s.url = func(int) string { return "http://" + address + "/metrics" }
	run := exec.Command(filepath.Join(b.folder, "gauge"), address)
	supervised := column < len(b.binaries)
	if supervised {
		s.want = `hypervisor_type="qemu-tcg"`
		sidecar := filepath.Join(b.binaries[column], "sidecar")
		run, err = command(ctx, sidecar,
			"--listen-address="+address, "--libvirt-socket="+daemon.Socket(), "--libvirt-uri=qemu:///session")
		if err != nil {
			return nil, err
		}
		run = exec.Command(filepath.Join(b.binaries[column], "supervisor"), run.Args...)
	}
	run.Env = []string{"GOMAXPROCS=1", "GOGC=10", "GOMEMLIMIT=12MiB"}
	run.Env = append(run.Env, "VMI_NAMESPACE=bench", "VMI_NAME=vm", "NODE_NAME=node")
	user := uint32(daemon.UID())
	run.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	s, err = b.launch(ctx, s, run)
	if err == nil && supervised {
		s.pid, err = onlyChild(s.pid)
	}
	return s, err
}

// onlyChild returns the pid of a process's one child.
func onlyChild(pid int) (int, error) {
	children, err := exec.Command("pgrep", "--parent", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("find the child of process %d: %w", pid, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(children)))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// The VMI that the bench runs.
const (
	namespace = "bench"
	vmi       = "vm"
)

// A bench is everything that is measured, and what it needs around it.
type bench struct {
	size     size
	progress io.Writer
	folder   string
	daemon   *libvirttest.Daemon
	// programs are the sidecar, floor and mini, in the order of the table.
	programs []program
}

func (b *bench) sidecar() program { return b.programs[0] }

// newBench builds the programs and starts libvirt with a VM. It must be closed.
func newBench(ctx context.Context, o options, progress io.Writer) (b *bench, err error) {
	b = &bench{size: full, progress: progress}
	if o.quick {
		b.size = quick
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.folder, err = os.MkdirTemp("", "sidecar-bench-"); err != nil {
		return b, err
	}
	// The programs run as libvirt's user.
	if err := os.Chmod(b.folder, 0o755); err != nil {
		return b, err
	}
	b.say("starting libvirt with a VM")
	if b.daemon, err = libvirttest.Start(ctx); err != nil {
		return b, err
	}
	guest := libvirttest.Guest{Namespace: namespace, Name: vmi, Type: libvirttest.TCG, Program: libvirttest.Idle}
	if _, err := b.daemon.Run(ctx, guest); err != nil {
		return b, err
	}
	// The first time that libvirt is asked for its hypervisor's version it probes
	// every emulator there is, for up to a minute: not while something is measured.
	b.say("letting libvirt get to know its emulators")
	if _, err := b.daemon.Virsh(ctx, "version"); err != nil {
		return b, err
	}
	b.say("building")
	b.programs, err = b.build(ctx, o)
	return b, err
}

func (b *bench) build(ctx context.Context, o options) ([]program, error) {
	listen := func(address string) []string { return []string{"-listen=" + address} }
	ask := func(address string) []string {
		return []string{"-listen=" + address, "-socket=" + b.daemon.Socket()}
	}
	programs := []program{
		b.sidecarAt(b.daemon.Socket()),
		{name: "floor", args: listen, want: "floor_info 1"},
		{name: "mini", args: ask, want: `type="qemu"`},
	}
	for i, pkg := range []string{"sidecar", "internal/bench/sidecar/floor", "internal/bench/sidecar/mini"} {
		p := &programs[i]
		p.env, p.uid = append(p.env, o.environment()...), b.daemon.UID()
		if p.name == "sidecar" && o.sidecar != "" {
			p.binary = o.sidecar
			continue
		}
		var err error
		if p.binary, err = build(ctx, b.folder, p.name, pkg); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// sidecarAt is the sidecar on a socket, as the webhook would start it.
func (b *bench) sidecarAt(socket string) program {
	return program{
		name: "sidecar",
		args: func(address string) []string {
			return []string{"--listen-address=" + address, "--libvirt-socket=" + socket, "--libvirt-uri=qemu:///session"}
		},
		want: `hypervisor_type="qemu-tcg"`,
		env:  []string{"VMI_NAMESPACE=" + namespace, "VMI_NAME=" + vmi, "NODE_NAME=bench-node"},
	}
}

// on is the same program on another socket.
func (b *bench) on(socket string) program {
	p := b.sidecar()
	p.args = b.sidecarAt(socket).args
	return p
}

// runAll runs every program; stop ends them.
func (b *bench) runAll(ctx context.Context) (running []*process, stop func(), err error) {
	stop = func() {
		for _, s := range running {
			s.stop()
		}
	}
	for _, p := range b.programs {
		s, err := p.run(ctx)
		if err != nil {
			stop()
			return nil, nil, err
		}
		running = append(running, s)
	}
	return running, stop, nil
}

func (b *bench) close() error {
	var errs []error
	if b.daemon != nil {
		errs = append(errs, b.daemon.Close())
	}
	if b.folder != "" {
		errs = append(errs, os.RemoveAll(b.folder))
	}
	return errors.Join(errs...)
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, format+" …\n", args...)
}

func (b *bench) path(name string) string { return filepath.Join(b.folder, name) }

// sizes measures the binaries.
func (b *bench) sizes(context.Context) ([]row, error) {
	r := row{measure: "stripped binary", unit: megabytes, target: atMost(14e6)}
	for _, p := range b.programs {
		info, err := os.Stat(p.binary)
		if err != nil {
			return nil, err
		}
		r.values = append(r.values, float64(info.Size()))
	}
	return []row{r}, nil
}

package libvirttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Domain is one guest on one daemon, defined or running.
type Domain struct {
	daemon *Daemon
	name   string
	serial string // the file of its serial line, which a migration takes along
}

// Define makes g known to the daemon without starting it: a persistent domain.
func (d *Daemon) Define(ctx context.Context, g Guest) (*Domain, error) {
	return d.make(ctx, g, "define")
}

// Create starts g as a transient domain, which is gone when it ends.
func (d *Daemon) Create(ctx context.Context, g Guest) (*Domain, error) {
	return d.make(ctx, g, "create")
}

// Run defines and starts g, as KubeVirt does.
func (d *Daemon) Run(ctx context.Context, g Guest) (*Domain, error) {
	domain, err := d.Define(ctx, g)
	if err != nil {
		return nil, err
	}
	return domain, domain.Start(ctx)
}

func (d *Daemon) make(ctx context.Context, g Guest, verb string) (*Domain, error) {
	xml, err := d.xml(g)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(d.folder.guests(), g.domainName()+".xml")
	if err := d.write(path, []byte(xml)); err != nil {
		return nil, fmt.Errorf("%s %s: %w", verb, g.domainName(), err)
	}
	if _, err := d.Virsh(ctx, verb, path); err != nil {
		return nil, err
	}
	return &Domain{daemon: d, name: g.domainName(), serial: d.serial(g.domainName())}, nil
}

// Name is the domain's name in libvirt.
func (d *Domain) Name() string { return d.name }

// Start starts a defined domain, or goes on from its managed save.
func (d *Domain) Start(ctx context.Context) error { return d.virsh(ctx, "start") }

// StartPaused starts a domain whose CPU waits for Resume.
func (d *Domain) StartPaused(ctx context.Context) error { return d.virsh(ctx, "start", "--paused") }

// Suspend pauses the guest's CPU.
func (d *Domain) Suspend(ctx context.Context) error { return d.virsh(ctx, "suspend") }

// Resume ends Suspend and StartPaused.
func (d *Domain) Resume(ctx context.Context) error { return d.virsh(ctx, "resume") }

// Reset is the reset button.
func (d *Domain) Reset(ctx context.Context) error { return d.virsh(ctx, "reset") }

// Shutdown presses the power button; what follows is up to the guest's program.
func (d *Domain) Shutdown(ctx context.Context) error {
	return d.virsh(ctx, "shutdown", "--mode", "acpi")
}

// Wakeup ends the guest's own Suspend program.
func (d *Domain) Wakeup(ctx context.Context) error { return d.virsh(ctx, "dompmwakeup") }

// Destroy kills the guest. libvirt 9.0 calls it an error, now and then, that its monitor
// saw QEMU go before it had done with that.
func (d *Domain) Destroy(ctx context.Context) error {
	err := d.virsh(ctx, "destroy")
	if err != nil && strings.HasSuffix(err.Error(), "domain is not running") {
		return nil
	}
	return err
}

// Undefine removes a domain that does not run.
func (d *Domain) Undefine(ctx context.Context) error {
	return d.virsh(ctx, "undefine", "--managed-save")
}

// ManagedSave saves the guest to where Start finds it.
func (d *Domain) ManagedSave(ctx context.Context) error { return d.virsh(ctx, "managedsave") }

// Save saves the guest to a file of the daemon's folder; see Restore.
func (d *Domain) Save(ctx context.Context) error { return d.virsh(ctx, "save", d.saveFile()) }

// Restore goes on from what Save saved.
func (d *Domain) Restore(ctx context.Context) error {
	_, err := d.daemon.Virsh(ctx, "restore", d.saveFile())
	return err
}

func (d *Domain) saveFile() string { return filepath.Join(d.daemon.folder.guests(), d.name+".save") }

func (d *Domain) virsh(ctx context.Context, verb string, args ...string) error {
	_, err := d.daemon.Virsh(ctx, append([]string{verb, d.name}, args...)...)
	return err
}

// AwaitProgram waits until the guest's program has begun times times since the domain
// was defined or created: once after each start, again after each reset.
func (d *Domain) AwaitProgram(ctx context.Context, times int) error {
	return poll(ctx, nil, fmt.Sprintf("guest %s did not reach its program %d times", d.name, times), func() (string, bool) {
		printed, _ := os.ReadFile(d.serial) // it may not be there yet
		return string(printed), bytes.Count(printed, []byte("R")) >= times
	})
}

// qemuPid is the process id of the domain's QEMU.
func (d *Domain) qemuPid() (int, error) {
	// qemuProcess.c: a session daemon keeps its pid files in <runtime>/libvirt/qemu/run.
	text, err := os.ReadFile(filepath.Join(d.daemon.folder.sockets(), "qemu", "run", d.name+".pid"))
	if err != nil {
		return 0, fmt.Errorf("domain %s has no QEMU: %w", d.name, err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// KillQEMU kills the domain's QEMU and returns when it is gone, which libvirtd may
// not have noticed yet.
func (d *Domain) KillQEMU() error {
	pid, err := d.qemuPid()
	if err != nil {
		return err
	}
	killAll([]int{pid})
	return nil
}

// StopQEMU freezes the domain's QEMU: it runs, but answers nothing.
func (d *Domain) StopQEMU() error { return d.signalQEMU(syscall.SIGSTOP) }

// ContQEMU ends StopQEMU.
func (d *Domain) ContQEMU() error { return d.signalQEMU(syscall.SIGCONT) }

func (d *Domain) signalQEMU(sig syscall.Signal) error {
	pid, err := d.qemuPid()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

package libvirttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// QEMUPid is the process id of the domain's QEMU.
func (d *Domain) QEMUPid() (int, error) {
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
	pid, err := d.QEMUPid()
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
	pid, err := d.QEMUPid()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, sig)
}

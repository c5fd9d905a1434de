package libvirttest

import (
	"fmt"
	"os"
	"syscall"
)

const (
	kvmDevice = "/dev/kvm"
	// kvmAPIVersion is the answer of every KVM since Linux 2.6.22 (linux/kvm.h).
	kvmAPIVersion    = 12
	kvmGetAPIVersion = 0xae00
)

// HaveKVM tells why a Daemon could not start guests of type KVM here, or nil.
func HaveKVM() error {
	f, err := os.OpenFile(kvmDevice, os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("no KVM guests on this machine: %w", err)
	}
	defer f.Close()
	version, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), kvmGetAPIVersion, 0)
	if errno != 0 {
		return fmt.Errorf("no KVM guests on this machine: %s: %w", kvmDevice, errno)
	}
	if version != kvmAPIVersion {
		return fmt.Errorf("no KVM guests on this machine: %s speaks API version %d, not %d", kvmDevice, version, kvmAPIVersion)
	}
	return nil
}

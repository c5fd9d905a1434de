package libvirttest

import (
	"fmt"
	"os"
	"strings"
)

// programs are what a Daemon runs, each with the Debian package that brings it.
var programs = [][2]string{
	{"/usr/sbin/libvirtd", "libvirt-daemon"},
	{"/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so", "libvirt-daemon-driver-qemu"},
	{"/usr/bin/virsh", "libvirt-clients"},
	{emulator, "qemu-system-x86"},
}

const emulator = "/usr/bin/qemu-system-x86_64"

// checkPrograms names the line that installs what is missing.
func checkPrograms() error {
	var files, packages []string
	for _, p := range programs {
		if _, err := os.Stat(p[0]); err == nil {
			continue
		}
		files, packages = append(files, p[0]), append(packages, p[1])
	}
	if files == nil {
		return nil
	}
	return fmt.Errorf("not found: %s; install with: apt-get install -y --no-install-recommends %s",
		strings.Join(files, ", "), strings.Join(packages, " "))
}

package libvirttest

import (
	"bytes"
	_ "embed"
)

// Program is what a guest's boot sector does (boot/boot.S). Programs run under TCG
// and KVM alike: 16 bits, no kernel.
type Program uint8

// The programs. NoProgram is a guest without a disk: its firmware finds nothing to boot.
const (
	NoProgram Program = iota
	// Idle halts for ever.
	Idle
	// PowerOff enters ACPI S5, as a guest's operating system does when it shuts down.
	PowerOff
	// Reset resets the machine.
	Reset
	// Panic reports a crash through pvpanic, as Linux and Windows do.
	Panic
	// Suspend enters ACPI S3, suspend to memory.
	Suspend
	// Busy writes into 40 MiB of memory again and again, so that pre-copy with a
	// bounded bandwidth does not end.
	Busy
)

//go:embed boot/boot.bin
var bootSector []byte

const (
	programOffset = 0x1fc
	onButton      = 0x80
)

// image is the boot sector with its program set, padded to a size QEMU likes.
func (p Program) image(waitForButton bool) []byte {
	code := byte(p - Idle) // boot.S counts from idle = 0
	if waitForButton {
		code |= onButton
	}
	disk := append(bytes.Clone(bootSector), make([]byte, 1<<20-len(bootSector))...)
	disk[programOffset] = code
	return disk
}

package libvirttest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// Type is the type attribute of a guest's domain.
type Type string

// The types that QEMU has.
const (
	TCG Type = "qemu"
	KVM Type = "kvm"
)

// HaveKVM returns why a Daemon could not start guests of type KVM here, or nil.
func HaveKVM() error {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("no KVM guests on this machine: %w", err)
	}
	return device.Close()
}

// Program is what a guest's boot sector does (boot/boot.S). Programs run under TCG
// and KVM: 16 bits, no kernel.
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

// image is the boot sector with its program set, padded to a size QEMU accepts.
func (p Program) image(waitForButton bool) []byte {
	code := byte(p - Idle) // boot.S counts from idle = 0
	if waitForButton {
		code |= onButton
	}
	disk := append(bytes.Clone(bootSector), make([]byte, 1<<20-len(bootSector))...)
	disk[programOffset] = code
	return disk
}

// Guest describes a domain. It has 64 MiB, one CPU and no network; the
// zero value of each field but the names is good.
type Guest struct {
	// Namespace and Name are the VMI's. The domain is named <namespace>_<name>.
	Namespace, Name string
	// Type is TCG if empty.
	Type Type
	// Program is what the guest does once it has booted.
	Program Program
	// OnButton makes the program wait for virsh shutdown first.
	OnButton bool
	// OnCrash is libvirt's on_crash; "destroy", as KubeVirt has it, if empty.
	OnCrash string
	// CPU is its <cpu>, and Features and Devices are elements to add to those of the domain: XML as it is.
	CPU, Features, Devices string
}

func (g Guest) domainName() string { return g.Namespace + "_" + g.Name }

// domainXML follows KubeVirt 1.9 (pkg/virt-launcher/virtwrap/converter), cut down to
// what starts fast. The disk is read-only, hence migratable without shared storage;
// append keeps the target's QEMU from emptying the source's serial log.
var domainXML = template.Must(template.New("domain").Parse(`<domain type='{{.Type}}'>
  <name>{{html .Domain}}</name>
  <metadata>
    <kubevirt xmlns="http://kubevirt.io">
      <uid/>
    </kubevirt>
  </metadata>
  <memory unit='KiB'>65536</memory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
{{- if .Disk}}
    <boot dev='hd'/>
{{- end}}
  </os>
  <features>
    <acpi/>
    {{.Features}}
  </features>
{{- if .CPU}}
  {{.CPU}}
{{- else}}
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='disable' name='svm'/>
  </cpu>
{{- end}}
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>{{.OnCrash}}</on_crash>
  <pm>
    <suspend-to-mem enabled='yes'/>
  </pm>
  <devices>
    <emulator>{{.Emulator}}</emulator>
    <controller type='usb' index='0' model='none'/>
{{- if .Disk}}
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{{.Disk}}'/>
      <target dev='vda' bus='virtio'/>
      <readonly/>
    </disk>
{{- end}}
    <serial type='file'>
      <source path='{{.Serial}}' append='on'/>
      <target type='isa-serial' port='0'/>
    </serial>
    <memballoon model='none'/>
    <panic model='isa'/>
    {{.Devices}}
  </devices>
</domain>
`))

// xml renders the domain and writes the disk it boots from into the daemon's folder;
// what an earlier guest of that name printed is removed.
func (d *Daemon) xml(g Guest) (string, error) {
	if g.Type == "" {
		g.Type = TCG
	}
	if g.OnCrash == "" {
		g.OnCrash = "destroy"
	}
	name := g.domainName()
	disk := ""
	if g.Program != NoProgram {
		disk = filepath.Join(d.folder.guests(), name+".img")
		if err := d.write(disk, g.Program.image(g.OnButton)); err != nil {
			return "", fmt.Errorf("disk of guest %s: %w", name, err)
		}
	}
	if err := os.Remove(d.serial(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	var text bytes.Buffer
	err := domainXML.Execute(&text, struct {
		Guest
		Domain, Emulator, Disk, Serial string
	}{g, name, emulator, disk, d.serial(name)})
	return text.String(), err
}

// serial is the file that gets what a guest writes to its first serial line.
func (d *Daemon) serial(domain string) string {
	return filepath.Join(d.folder.guests(), domain+".serial")
}

func (d *Daemon) write(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	return os.Lchown(path, d.uid, d.uid)
}

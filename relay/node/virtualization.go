package node

import "strings"

// The values of the label virtualization.
const (
	None    = "none" // the node is a physical machine
	KVM     = "kvm"
	HyperV  = "hyperv"
	VMware  = "vmware"
	Xen     = "xen"
	Other   = "other"   // a VM under something else, which includes emulation by QEMU
	Unknown = "unknown" // what a container can read does not decide it
)

// clues are what decides whether the node is a VM. An empty text was not readable.
type clues struct {
	arch string // as GOARCH

	// Of amd64, from the CPUID instruction.
	hypervisorBit    bool
	hypervisorVendor string // 12 bytes of leaf 0x40000000; means something only with the bit

	// From /sys/class/dmi/id.
	vendor, product, version, chassis string

	hypervisorType string // /sys/hypervisor/type
	xenFeatures    string // /sys/hypervisor/properties/features, hexadecimal
	mshv           bool   // /sys/class/misc/mshv: the kernel is Hyper-V's own root partition, or has its rights
	sysinfo        string // of s390x, /proc/sysinfo
}

// virtualization decides in the order of systemd-detect-virt (src/basic/virt.c, detect_vm): Xen,
// then CPUID, then DMI. It differs in two ways: what EC2 and Google Cloud run on is KVM here, and where
// systemd concludes from nothing known that an arm64 machine is physical, this is Unknown.
func (c clues) virtualization() string {
	if c.arch == "s390x" {
		return c.ofSysinfo()
	}
	if c.hypervisorType == "xen" {
		return c.ofXen()
	}
	if c.hypervisorBit {
		return c.ofCPUID()
	}
	if found := c.ofDMI(); found != Unknown {
		return found
	}
	switch {
	case c.arch == "amd64": // every hypervisor sets the bit, unless its administrator hides it
		return None
	case c.physicalChassis():
		return None
	default:
		return Unknown
	}
}

// ofSysinfo reads what the machine says of itself on s390x. VM00 is the nearest hypervisor.
func (c clues) ofSysinfo() string {
	for line := range strings.Lines(c.sysinfo) {
		program, found := strings.CutPrefix(line, "VM00 Control Program:")
		switch {
		case !found:
		case strings.HasPrefix(strings.TrimSpace(program), "KVM"):
			return KVM
		default:
			return Other
		}
	}
	if strings.Contains(c.sysinfo, "LPAR Number:") {
		return None
	}
	return Unknown
}

// ofXen tells a guest from Dom0, which runs on the machine itself, unless Xen is in a VM.
func (c clues) ofXen() string {
	features, readable := hexadecimal(c.xenFeatures)
	const dom0 = 1 << 11 // XENFEAT_dom0
	switch {
	case !readable:
		return Unknown
	case features&dom0 == 0:
		return Xen
	case !c.hypervisorBit:
		return None
	}
	if found := c.ofCPUID(); found != Xen && found != Other {
		return found
	}
	return Unknown // Xen's own answer hides what Xen runs on
}

func (c clues) ofCPUID() string {
	switch c.hypervisorVendor {
	case "KVMKVMKVM", "Linux KVM Hv":
		return KVM
	case "VMwareVMware":
		return VMware
	case "XenVMMXenVMM":
		return Xen
	case "Microsoft Hv":
		if c.mshv {
			return Unknown // a root partition is no VM, but one in Azure can be both
		}
		// QEMU's enlightenments (hv_*), which need KVM, take the place of its own name.
		if vm := c.ofDMI(); vm == KVM || vm == Other {
			return KVM
		}
		return HyperV
	}
	if found := c.ofDMI(); found != Unknown && found != None {
		return found
	}
	return Other
}

// ofDMI is Unknown if the firmware names no hypervisor. Vendors that also make physical machines
// need a product.
func (c clues) ofDMI() string {
	has := strings.HasPrefix
	switch {
	case has(c.vendor, "Amazon EC2"):
		// systemd-detect-virt decides the same for users who may not read SMBIOS.
		if strings.HasSuffix(c.product, ".metal") || strings.Contains(c.product, ".metal-") {
			return None
		}
		if c.product == "" || has(c.product, "HVM domU") {
			return Unknown
		}
		return KVM
	case has(c.product, "KVM"), has(c.vendor, "KubeVirt"):
		return KVM
	case has(c.vendor, "OpenStack"), has(c.product, "OpenStack"):
		return Other // its compute nodes may run QEMU without KVM, or another hypervisor
	case has(c.vendor, "VMware"), has(c.product, "VMware"):
		return VMware
	case has(c.vendor, "Microsoft Corporation") && c.product == "Virtual Machine", has(c.version, "Hyper-V"):
		return HyperV
	case has(c.vendor, "Xen"):
		return Xen
	case has(c.vendor, "QEMU"), has(c.vendor, "Bochs"), has(c.vendor, "innotek GmbH"), has(c.vendor, "Parallels"), has(c.vendor, "BHYVE"),
		has(c.vendor, "Apple") && has(c.product, "Apple Virtualization"):
		return Other
	}
	return Unknown
}

// physicalChassis is for machines without a hypervisor's bit in the CPU. The types are those of
// servers (SMBIOS 7.4.1): tower, main server, rack mount, multi-system, blade and its enclosure.
// A VM's is 1, other, with QEMU, and often 3, desktop.
func (c clues) physicalChassis() bool {
	switch c.chassis {
	case "7", "17", "23", "25", "28", "29":
		return c.vendor != "" && c.vendor != "Google" // whose VMs and machines have the same names
	}
	return false
}

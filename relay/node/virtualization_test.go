package node

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/cpuid/v2"
	"github.com/stretchr/testify/require"
)

// The formats are those of the kernel: arch/s390/kernel/sysinfo.c.
const (
	lpar = "Manufacturer:         IBM\nType:                 3931\nLIC Identifier:       b08c1d1e5c0c3a1b\n\nLPAR Number:          11\n" +
		"LPAR Characteristics: Shared \nLPAR Name:            A11\n"
	zvm       = lpar + "\nVM00 Name:            LINUX01\nVM00 Control Program: z/VM    7.3.0\nVM00 Adjustment:      83\n"
	kvmOnS390 = lpar + "\nVM00 Name:            guest\nVM00 Control Program: KVM/Linux\nVM00 Adjustment:      1000\n"
	kvmOnZVM  = kvmOnS390 + "\nVM01 Name:            LINUX01\nVM01 Control Program: z/VM    7.3.0\n"
)

func TestVirtualization(t *testing.T) {
	for name, c := range map[string]struct {
		clues clues
		want  string
	}{
		"bare metal":                    {clues{arch: "amd64", vendor: "Dell Inc.", product: "PowerEdge R650", chassis: "23"}, None},
		"bare metal, /sys masked":       {clues{arch: "amd64"}, None},
		"bare metal, leaf without bit":  {clues{arch: "amd64", hypervisorVendor: "KVMKVMKVM"}, None},
		"kvm":                           {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "KVMKVMKVM", vendor: "QEMU", product: "Standard PC (Q35 + ICH9, 2009)"}, KVM},
		"kvm, /sys masked":              {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "KVMKVMKVM"}, KVM},
		"kvm, bit hidden":               {clues{arch: "amd64", vendor: "QEMU", product: "Standard PC (Q35 + ICH9, 2009)"}, Other},
		"kvm with Hyper-V enlightened":  {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "Microsoft Hv", vendor: "QEMU", product: "Standard PC (Q35 + ICH9, 2009)"}, KVM},
		"kubevirt with enlightenments":  {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "Microsoft Hv", vendor: "KubeVirt", product: "None"}, KVM},
		"qemu tcg":                      {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "TCGTCGTCGTCG", vendor: "QEMU", product: "Standard PC (i440FX + PIIX, 1996)"}, Other},
		"nitro":                         {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "KVMKVMKVM", vendor: "Amazon EC2", product: "m5.large"}, KVM},
		"nitro metal":                   {clues{arch: "amd64", vendor: "Amazon EC2", product: "m5.metal", chassis: "23"}, None},
		"nitro metal of a size":         {clues{arch: "amd64", vendor: "Amazon EC2", product: "m7i.metal-24xl"}, None},
		"graviton":                      {clues{arch: "arm64", vendor: "Amazon EC2", product: "m6g.large", chassis: "1"}, KVM},
		"graviton metal":                {clues{arch: "arm64", vendor: "Amazon EC2", product: "m6g.metal"}, None},
		"graviton, no product":          {clues{arch: "arm64", vendor: "Amazon EC2"}, Unknown},
		"gce":                           {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "KVMKVMKVM", vendor: "Google", product: "Google Compute Engine"}, KVM},
		"gce metal":                     {clues{arch: "amd64", vendor: "Google", product: "Google Compute Engine"}, None},
		"gce on arm64, VM or not":       {clues{arch: "arm64", vendor: "Google", product: "Google Compute Engine", chassis: "23"}, Unknown},
		"vmware":                        {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "VMwareVMware", vendor: "VMware, Inc.", product: "VMware7,1"}, VMware},
		"vmware, bit hidden":            {clues{arch: "amd64", vendor: "VMware, Inc.", product: "VMware Virtual Platform"}, VMware},
		"azure":                         {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "Microsoft Hv", vendor: "Microsoft Corporation", product: "Virtual Machine"}, HyperV},
		"azure on arm64":                {clues{arch: "arm64", vendor: "Microsoft Corporation", product: "Virtual Machine", version: "Hyper-V UEFI Release v4.1", chassis: "3"}, HyperV},
		"hyper-v's root partition":      {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "Microsoft Hv", vendor: "Microsoft Corporation", mshv: true}, Unknown},
		"microsoft's own machine":       {clues{arch: "amd64", vendor: "Microsoft Corporation", product: "Surface Laptop 4", chassis: "9"}, None},
		"oracle's own machine":          {clues{arch: "amd64", vendor: "Oracle Corporation", product: "ORACLE SERVER X9-2"}, None},
		"virtualbox":                    {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "VBoxVBoxVBox", vendor: "innotek GmbH", product: "VirtualBox"}, Other},
		"a hypervisor of no known name": {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "ACRNACRNACRN"}, Other},
		"xen hvm":                       {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "XenVMMXenVMM", hypervisorType: "xen", xenFeatures: "0000070c", vendor: "Xen", product: "HVM domU"}, Xen},
		"xen hvm as hyper-v":            {clues{arch: "amd64", hypervisorBit: true, hypervisorVendor: "Microsoft Hv", hypervisorType: "xen", xenFeatures: "0000070c", vendor: "Xen"}, Xen},
		"xen pv":                        {clues{arch: "amd64", hypervisorType: "xen", xenFeatures: "000002b0"}, Xen},
		"xen dom0":                      {clues{arch: "amd64", hypervisorType: "xen", xenFeatures: "00000b30", vendor: "Dell Inc."}, None},
		"xen dom0, cpuid faulting":      {clues{arch: "amd64", hypervisorType: "xen", xenFeatures: "00000b30", hypervisorBit: true, hypervisorVendor: "XenVMMXenVMM"}, Unknown},
		"xen dom0 in kvm":               {clues{arch: "amd64", hypervisorType: "xen", xenFeatures: "00000b30", hypervisorBit: true, hypervisorVendor: "KVMKVMKVM"}, KVM},
		"xen, features masked":          {clues{arch: "amd64", hypervisorType: "xen"}, Unknown},
		"qemu arm64 on kvm":             {clues{arch: "arm64", vendor: "QEMU", product: "KVM Virtual Machine", chassis: "1"}, KVM},
		"qemu arm64 emulated":           {clues{arch: "arm64", vendor: "QEMU", product: "QEMU Virtual Machine", chassis: "1"}, Other},
		"arm64 server":                  {clues{arch: "arm64", vendor: "GIGABYTE", product: "R272-P30-00", chassis: "23"}, None},
		"arm64 cloud of no known name":  {clues{arch: "arm64", vendor: "Alibaba Cloud", product: "Alibaba Cloud ECS", chassis: "1"}, Unknown},
		"arm64, /sys masked":            {clues{arch: "arm64"}, Unknown},
		"s390x lpar":                    {clues{arch: "s390x", sysinfo: lpar}, None},
		"s390x z/VM":                    {clues{arch: "s390x", sysinfo: zvm}, Other},
		"s390x kvm":                     {clues{arch: "s390x", sysinfo: kvmOnS390}, KVM},
		"s390x kvm on z/VM":             {clues{arch: "s390x", sysinfo: kvmOnZVM}, KVM},
		"s390x, masked":                 {clues{arch: "s390x"}, Unknown},
		"s390x, not sysinfo":            {clues{arch: "s390x", sysinfo: "x\n"}, Unknown},
	} {
		require.Equal(t, c.want, c.clues.virtualization(), name)
	}
}

// The names of systemd-detect-virt that this package has other words for.
var systemd = map[string]string{
	"none": None, "kvm": KVM, "amazon": KVM, "google": KVM, "microsoft": HyperV, "vmware": VMware, "xen": Xen,
}

func TestAsSystemdDecides(t *testing.T) {
	output, err := exec.Command("systemd-detect-virt", "--vm").Output() // exits with 1 for none
	if len(output) == 0 {
		t.Fatalf("no systemd-detect-virt (%v): apt-get install -y systemd", err)
	}
	want, known := systemd[strings.TrimSpace(string(output))]
	if !known {
		want = Other
	}
	c := withCPU(readClues(os.DirFS("/")))
	require.Contains(t, []string{want, Unknown}, c.virtualization(), "%+v", c)
	if runtime.GOARCH == "amd64" && cpuid.CPU.Supports(cpuid.HYPERVISOR) {
		require.Equal(t, want, c.virtualization(), "%+v", c)
	}
}

func TestCluesAreRead(t *testing.T) {
	root := fstest.MapFS{}
	for path, text := range map[string]string{
		"sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "sys/class/dmi/id/product_name": "m5.large\n", "sys/class/dmi/id/product_version": "\n",
		"sys/class/dmi/id/chassis_type": "1\n", "sys/hypervisor/type": "xen\n", "sys/hypervisor/properties/features": "00000b30\n",
		"proc/sysinfo": strings.Repeat("x", 1<<20), "sys/class/misc/mshv/dev": "10:1\n",
	} {
		root[path] = &fstest.MapFile{Data: []byte(text)}
	}
	c := readClues(root)
	require.Len(t, c.sysinfo, maxBytes)
	c.sysinfo = ""
	require.Equal(t, clues{arch: runtime.GOARCH, vendor: "Amazon EC2", product: "m5.large", chassis: "1", hypervisorType: "xen", xenFeatures: "00000b30", mshv: true}, c)
	require.Equal(t, clues{arch: runtime.GOARCH}, readClues(fstest.MapFS{}))
}

// Package node shows what the relay's node is, as far as a container without rights can see it:
// is it a VM itself, and what can its KVM do?
package node

import (
	"io/fs"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Labels of the metric. The node's name is not among them: Prometheus knows whose relay it scrapes
// from the API server.
var labels = []string{"virtualization", "hardware_paging", "nested"}

const (
	metric = "kubevirt_node_virtualization_info"
	help   = "Whether the node is itself a VM, and under what: none, kvm, hyperv, vmware, xen, other or unknown. " +
		"hardware_paging (Intel EPT, AMD NPT) and nested are on or off as KVM's module has them, and absent where that cannot be read. The value is always 1."
)

// A Collector is the node's metric.
type Collector struct {
	desc           *prometheus.Desc
	virtualization string
	hardwarePaging parameter
	nested         parameter
}

// NewCollector reads below the root, which is / but in tests. Call it before the process
// gives up the right to open files in /sys.
func NewCollector(root fs.FS) *Collector {
	return newCollector(root, withCPU(readClues(root)))
}

// withCPU adds what the CPU says: on other architectures than amd64, nothing.
func withCPU(c clues) clues {
	c.hypervisorBit = cpuid.CPU.Supports(cpuid.HYPERVISOR)
	c.hypervisorVendor = strings.TrimRight(cpuid.CPU.HypervisorVendorString, "\x00")
	return c
}

func newCollector(root fs.FS, c clues) *Collector {
	return &Collector{
		desc:           prometheus.NewDesc(metric, help, labels, nil),
		virtualization: c.virtualization(),
		hardwarePaging: openParameter(root, "kvm_intel/parameters/ept", "kvm_amd/parameters/npt"),
		// On s390x it is a parameter of kvm itself.
		nested: openParameter(root, "kvm_intel/parameters/nested", "kvm_amd/parameters/nested", "kvm/parameters/nested"),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(descs chan<- *prometheus.Desc) { descs <- c.desc }

// Collect implements prometheus.Collector.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, 1, c.virtualization, c.hardwarePaging.onOff(), c.nested.onOff())
}

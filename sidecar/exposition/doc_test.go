package exposition

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// writeDoc writes docs/metrics.md from the descriptors that the collector uses.
func writeDoc(w io.Writer) {
	fmt.Fprint(w, `# Metrics

<!-- Generated from sidecar/exposition/collector.go by: go test ./sidecar/exposition -update -->

Each sidecar serves these on `+"`/metrics`"+` for the one VMI beside it.

| metric | type | labels | meaning |
|---|---|---|---|
`)
	for _, m := range Metrics() {
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", m.Name, kind(m.Type), labels(m.Labels), m.Help)
	}
	fmt.Fprint(w, "| `hypervisor_exporter_build_info` | gauge | `version` `revision` `branch` `goversion` `goos` `goarch` `tags` | The exporter's build; the value is always 1. |\n")
	fmt.Fprint(w, `
## When the VMI's series are there

`+"`kubevirt_vmi_hypervisor_info`"+` is present exactly while the VMI would be in phase Running, by
KubeVirt's own mapping of libvirt's domain states:

| domain state | series |
|---|---|
| running, blocked, pmsuspended; paused by user, I/O error, watchdog, snapshot, save, dump, … | present |
| paused by a migration, if this sidecar has seen the domain run: a source, until libvirt shuts it off | present |
| paused by a migration otherwise: a target that waits for its memory | absent |
| paused: starting up, post-copy source, post-copy failed | absent |
| no domain, shutdown, shut off, crashed, migrated away | absent |

A source cannot distinguish the memory's last copy, which may take minutes, from the moment after the switch-over. So both
sides show the VM from when it goes on at the target until libvirt shuts it off at the source: 0.2 to 0.9 s on 2 cores
with a load of 20 to 50, also after a switch-over that had stalled for 5 s. The recording rule `+"`vmi:kubevirt_vmi_hypervisor_info:newest`"+`
takes the side whose `+"`hypervisor_exporter_last_change_timestamp_seconds`"+` is later, which is the target. In post-copy
the source is gone as soon as it is paused, and neither side shows the VM for the 0.1 to 0.4 s until it goes on.
A sidecar that was restarted while its VM is paused by a migration has not seen it run, and shows nothing
until it runs again.

`+"`hypervisor_type`"+` comes from the type of the libvirt domain:

| domain XML | `+"`hypervisor_type`"+` |
|---|---|
| `+"`<domain type=\"kvm\">`"+` | `+"`kvm`"+` |
| `+"`<domain type=\"qemu\">`"+` | `+"`qemu-tcg`"+` |
| any other type | `+"`unknown`"+`; `+"`domain_type`"+` of `+"`kubevirt_vmi_hypervisor_domain_info`"+` has it raw |
| XML without a type, or that libvirt has not sent within 5 s (`+"`--libvirt-timeout`"+`) of the domain's appearance | `+"`unknown`"+` |

The XML is read when a domain appears, again after a resume, a migration and a new connection to libvirt, and every 5
minutes (`+"`--libvirt-resync`"+`): a disk that is plugged in meanwhile shows up by then. Until
the new answer comes, the last one is shown: a libvirt whose workers all wait for a QEMU that hangs still reports
states, but sends no XML.

A running VMI keeps its type for 30 s (`+"`--libvirt-grace`"+`) after libvirt's last answer and then becomes
`+"`unknown`"+` until libvirt answers again. An idle libvirt is pinged every 15 s. It makes no difference whether libvirt
does not answer or the sidecar does not ask, because its log is stuck, for example.

`+"`hypervisor_version`"+` is empty until libvirt has answered: a libvirt that has several emulators on
its disk probes them all first.

## The labels of kubevirt_vmi_hypervisor_domain_info

An empty label is not known.

| label | what it says |
|---|---|
| `+"`host_arch`"+` | the node's architecture; a guest whose `+"`arch`"+` is another one is there on purpose |
| `+"`cpu_model`"+` | libvirt's name of the CPU that the guest sees, or the mode: `+"`host-passthrough`, `maximum`, `host-model`"+`. libvirt replaces `+"`host-model`"+` by the model that it chose at the start |
| `+"`hyperv`"+` | which enlightenments for Windows are on: none, some (`+"`partial`"+`), all that KubeVirt's preferences for Windows switch on (`+"`full`"+`), or all that the node has (`+"`passthrough`"+`) |
| `+"`launch_security`"+` | the kind of confidential computing |
| `+"`memory`"+` | `+"`normal`"+`, or the largest huge pages that back the guest's memory |
| `+"`disks`, `nics`"+` | the slowest kind: `+"`emulated`"+` hardware, `+"`virtio`"+`, or `+"`passthrough`"+`. CD-ROM drives and floppies do not count; a PCI device that is passed through is not known to be a disk or an interface |

How many CPU features a guest lacks is not among them. The XML of a running domain lists the features that its model has
and the guest does not get, and most of those are normal on the node: it does not say which of them were lost.

## The state of QEMU's monitor

`+"`kubevirt_vmi_hypervisor_control_state_seconds`"+` comes from virDomainGetControlInfo, which libvirt answers itself: it asks
QEMU nothing, so a QEMU that hangs does not delay it. `+"`occupied`"+` for minutes means that QEMU does not answer: KubeVirt can
neither stop nor migrate the VM. A QEMU that hangs is `+"`ok`"+` until libvirt sends it a command.

## The values of labels

Prometheus keeps a series only with these values, so that no pod can put other text into labels and alerts:

| label | values |
|---|---|
`)
	for _, name := range []string{"hypervisor_type", "domain_type", "arch", "host_arch", "machine", "cpu_model", "hypervisor_version", "libvirt_version",
		"hyperv", "launch_security", "memory", "disks", "nics", "state", "reason", "control_state", "error"} {
		fmt.Fprintf(w, "| `%s` | `%s` |\n", name, strings.ReplaceAll(labelPattern(name), "|", "\\|"))
	}
	fmt.Fprint(w, `
## Of the node

The relay serves this on its own page, once for each node. The label `+"`node`"+` is the target's, from the API server.

| metric | type | labels | meaning |
|---|---|---|---|
| `+"`kubevirt_node_virtualization_info`"+` | gauge | `+"`virtualization` `hardware_paging` `nested`"+` | Whether the node is itself a VM; the value is always 1. |

| label | values |
|---|---|
| `+"`virtualization`"+` | `+"`none`, `kvm`, `hyperv`, `vmware`, `xen`, `other`"+` (emulation by QEMU included), `+"`unknown`"+` (what a container can read does not decide it). Read when the relay starts |
| `+"`hardware_paging`"+` | `+"`on`, `off`"+`: Intel EPT or AMD NPT, as KVM's module has it; absent if that cannot be read |
| `+"`nested`"+` | `+"`on`, `off`"+`: whether VMs here may run VMs, as KVM's module has it; absent if that cannot be read |

hardware_paging and nested are read at each scrape. They are absent if the module was loaded, or loaded again, after the relay's start.
`)
}

func kind(t prometheus.ValueType) string {
	if t == prometheus.CounterValue {
		return "counter"
	}
	return "gauge"
}

func labels(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, "`"+name+"`")
	}
	return strings.Join(quoted, " ")
}

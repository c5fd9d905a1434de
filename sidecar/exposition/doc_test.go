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
| paused: starting up, incoming migration on a target, switched over on a source, post-copy source, post-copy failed | absent |
| no domain, shutdown, shut off, crashed, migrated away | absent |

`+"`hypervisor_type`"+` comes from the type of the libvirt domain:

| domain XML | `+"`hypervisor_type`"+` |
|---|---|
| `+"`<domain type=\"kvm\">`"+` | `+"`kvm`"+` |
| `+"`<domain type=\"qemu\">`"+` | `+"`qemu-tcg`"+` |
| any other type | `+"`unknown`"+`; `+"`domain_type`"+` of `+"`kubevirt_vmi_hypervisor_domain_info`"+` has it raw |
| XML that does not tell | `+"`unknown`"+` |

When libvirt stops answering, a running VMI keeps its type for 30 s (`+"`--libvirt.grace`"+`) and
then becomes `+"`unknown`"+` until libvirt is heard again.

`+"`hypervisor_version`"+` is empty until libvirt has told it: a libvirt that has several emulators on
its disk probes them all first.

With `+"`--web.runtime-metrics`"+` the usual `+"`go_*`"+` and `+"`process_*`"+` metrics are served as well. The
PodMonitors and the plain scrape configuration do not keep them.

## The values of labels

Prometheus keeps a series only with these values, so that no pod can put other text into labels and alerts:

| label | values |
|---|---|
`)
	for _, name := range []string{"hypervisor_type", "domain_type", "arch", "reason", "machine", "hypervisor_version", "libvirt_version"} {
		fmt.Fprintf(w, "| `%s` | `%s` |\n", name, strings.ReplaceAll(labelPattern(name), "|", "\\|"))
	}
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

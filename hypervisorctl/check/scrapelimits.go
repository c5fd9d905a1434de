package check

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// vmNeed is what the page of an ordinary VM needs, with its target labels and after the PodMonitor's relabelings
// (sidecar/exposition/testdata/kvm.txt; a test compares).
var vmNeed = struct{ samples, labels, labelName, labelValue, bytes int64 }{samples: 8, labels: 21, labelName: 18, labelValue: 49, bytes: 2707}

// limitProblems returns the limits of a Prometheus below what the VMs' PodMonitor needs. Above a limit, a scrape fails as a
// whole; above that of targets, all scrapes of the PodMonitor do. Targets is how many there are at least.
func limitProblems(p *cluster.Prometheus, monitor *cluster.PodMonitor, targets int64) []problem {
	own, preset, enforced := &monitor.Spec.Limits, &p.Spec.Limits, &p.Spec.EnforcedLimits
	var found []problem
	for _, limit := range []struct {
		name                  string
		own, preset, enforced int64
		needed                int64
		what                  string
	}{
		{"SampleLimit", own.SampleLimit, preset.SampleLimit, enforced.EnforcedSampleLimit, vmNeed.samples, "samples of a VM"},
		{"LabelLimit", own.LabelLimit, preset.LabelLimit, enforced.EnforcedLabelLimit, vmNeed.labels, "labels of a series"},
		{"LabelNameLengthLimit", own.LabelNameLengthLimit, preset.LabelNameLengthLimit, enforced.EnforcedLabelNameLengthLimit, vmNeed.labelName, "characters of a label's name"},
		{"LabelValueLengthLimit", own.LabelValueLengthLimit, preset.LabelValueLengthLimit, enforced.EnforcedLabelValueLengthLimit, vmNeed.labelValue, "characters of a label's value"},
		{"BodySizeLimit", sizeOf(own.BodySizeLimit), sizeOf(preset.BodySizeLimit), sizeOf(enforced.EnforcedBodySizeLimit), vmNeed.bytes, "bytes of a VM's page"},
		{"TargetLimit", own.TargetLimit, preset.TargetLimit, enforced.EnforcedTargetLimit, targets, "VMs"},
	} {
		field, value, in := effective(limit.name, limit.own, limit.preset, limit.enforced)
		if value == 0 || value >= limit.needed {
			continue
		}
		where := p.String()
		if in == ofMonitor {
			where = "PodMonitor " + monitor.Namespace + "/" + monitor.Name
		}
		found = append(found, problem{Fail, fmt.Sprintf("%s is %d, below the %d %s", field, value, limit.needed, limit.what),
			fmt.Sprintf("set spec.%s to at least %d in %s", field, limit.needed, where)})
	}
	return found
}

const (
	ofMonitor = iota
	ofPrometheus
)

// effective returns which limit applies (pkg/prometheus/promcfg.go: getLimit, appendGlobalLimits): the lower one of the
// PodMonitor's own and the enforced one; without its own, the preset one, and of that no more than what is enforced.
func effective(name string, own, preset, enforced int64) (field string, value int64, in int) {
	field, value, in = strings.ToLower(name[:1])+name[1:], own, ofMonitor
	if own <= 0 {
		value, in = max(preset, 0), ofPrometheus
	}
	if enforced > 0 && (value == 0 || enforced < value) {
		return "enforced" + name, enforced, ofPrometheus
	}
	return field, value, in
}

// byteSize is the operator's ByteSize (pkg/apis/monitoring/v1/types.go). Prometheus reads KB and KiB as 1024 bytes alike
// (alecthomas/units: ParseBase2Bytes).
var byteSize = regexp.MustCompile(`^([0-9.]+)([KMGTPE]?)i?B$`)

// sizeOf returns a size in bytes; 0 if there is none, or none that can be read.
func sizeOf(size string) int64 {
	parts := byteSize.FindStringSubmatch(size)
	if parts == nil {
		return 0
	}
	number, err := strconv.ParseFloat(parts[1], 64)
	if err != nil {
		return 0
	}
	for range strings.Index("KMGTPE", parts[2]) + len(parts[2]) {
		number *= 1024
	}
	return int64(number)
}

package check

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

func TestScrapeLimits(t *testing.T) {
	tests := map[string]struct {
		spec string
		// own replaces the PodMonitor's own limits.
		own  *cluster.Limits
		text string
		fix  string
	}{
		"none":                      {`{}`, nil, "", ""},
		"the PodMonitor's own":      {`{}`, &cluster.Limits{SampleLimit: 3}, "sampleLimit is 3, below the 8 samples of a VM", "set spec.sampleLimit to at least 8 in PodMonitor hypervisor-exporter-relay/hypervisor-exporter-vms"},
		"samples":                   {`{"enforcedSampleLimit": 5}`, nil, "enforcedSampleLimit is 5, below the 8 samples of a VM", "set spec.enforcedSampleLimit to at least 8 in Prometheus monitoring/main"},
		"enough samples":            {`{"enforcedSampleLimit": 8}`, nil, "", ""},
		"labels":                    {`{"enforcedLabelLimit": 20}`, nil, "enforcedLabelLimit is 20, below the 21 labels of a series", "spec.enforcedLabelLimit"},
		"names":                     {`{"enforcedLabelNameLengthLimit": 10}`, nil, "enforcedLabelNameLengthLimit is 10", "spec.enforcedLabelNameLengthLimit to at least 18"},
		"values":                    {`{"enforcedLabelValueLengthLimit": 40}`, nil, "enforcedLabelValueLengthLimit is 40", "spec.enforcedLabelValueLengthLimit to at least 49"},
		"bytes":                     {`{"enforcedBodySizeLimit": "1KB"}`, nil, "enforcedBodySizeLimit is 1024, below the 2707 bytes of a VM's page", "spec.enforcedBodySizeLimit to at least 2707"},
		"enough bytes":              {`{"enforcedBodySizeLimit": "10MB"}`, nil, "", ""},
		"targets":                   {`{"enforcedTargetLimit": 100}`, nil, "enforcedTargetLimit is 100, below the 1000 VMs", "spec.enforcedTargetLimit to at least 1000"},
		"enough targets":            {`{"enforcedTargetLimit": 1000}`, nil, "", ""},
		"preset targets":            {`{"targetLimit": 100}`, nil, "targetLimit is 100, below the 1000 VMs", "set spec.targetLimit to at least 1000 in Prometheus monitoring/main"},
		"preset samples":            {`{"sampleLimit": 1}`, nil, "", ""}, // the PodMonitor has its own
		"preset, none of its own":   {`{"sampleLimit": 1}`, &cluster.Limits{}, "sampleLimit is 1", "in Prometheus monitoring/main"},
		"enforced above the preset": {`{"sampleLimit": 1, "enforcedSampleLimit": 2}`, &cluster.Limits{}, "sampleLimit is 1", "in Prometheus"},
		"no limit":                  {`{"enforcedSampleLimit": 0, "sampleLimit": 0, "enforcedBodySizeLimit": "0"}`, &cluster.Limits{}, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			monitor, _ := vmsMonitor(t)
			if test.own != nil {
				monitor.Spec.Limits = *test.own
			}
			found := limitProblems(prometheusOf(t, cluster.KindPrometheus, "monitoring", test.spec), monitor, 1000)
			if test.text == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Equal(t, Fail, found[0].level)
			require.Contains(t, found[0].text, test.text)
			require.Contains(t, found[0].fix, test.fix)
		})
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "0": 0, "100B": 100, "1KB": 1024, "1KiB": 1024, "256KB": 256 << 10, "1.5MB": 3 << 19, "2GiB": 2 << 30, "x": 0, "1TB": 1 << 40, "1PB": 1 << 50, "1EB": 1 << 60} {
		require.Equal(t, want, sizeOf(text), text)
	}
}

// vmNeed is what the sidecar's page of an ordinary VM needs. A page has each label of a target once, and Prometheus adds some.
func TestNeedOfAVM(t *testing.T) {
	content, err := os.ReadFile("../../sidecar/exposition/testdata/kvm.txt")
	require.NoError(t, err)
	require.Equal(t, int64(len(content)), vmNeed.bytes)
	added := []string{"__name__", "job", "instance", "pod", "container", "endpoint"}
	label := regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	got := vmNeed
	got.samples, got.labels, got.labelName, got.labelValue = 0, 0, 0, 0
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		got.samples++
		all := label.FindAllStringSubmatch(line, -1)
		got.labels = max(got.labels, int64(len(all)+len(added)))
		name, _, _ := strings.Cut(strings.Fields(line)[0], "{")
		got.labelValue = max(got.labelValue, int64(len(name)))
		for _, one := range all {
			got.labelName, got.labelValue = max(got.labelName, int64(len(one[1]))), max(got.labelValue, int64(len(one[2])))
		}
	}
	require.Equal(t, vmNeed, got)
}

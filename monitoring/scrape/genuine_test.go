package scrape

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

// samples lists the series of a page in the text format, as their labels.
func samples(t *testing.T, path string) []map[string]string {
	t.Helper()
	content, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = content.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(content)
	require.NoError(t, err)
	var all []map[string]string
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			all = append(all, labelsOf(name, metric))
		}
	}
	return all
}

func labelsOf(name string, metric *dto.Metric) map[string]string {
	labels := map[string]string{"__name__": name}
	for _, pair := range metric.GetLabel() {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels
}

// kept says whether the rules for pages keep the series, with all its labels.
func kept(t *testing.T, labels map[string]string) bool {
	t.Helper()
	rules := Page()
	keep, labelkeep := rules[0], rules[len(rules)-1]
	require.Equal(t, []string{"keep", "labelkeep"}, []string{keep.Action, labelkeep.Action})
	var values []string
	for _, label := range keep.Source {
		values = append(values, labels[label])
	}
	matches := func(regex, text string) bool { return regexp.MustCompile("^(?s:" + regex + ")$").MatchString(text) }
	for label := range labels {
		if !matches(labelkeep.Regex, label) {
			return false
		}
	}
	return matches(keep.Regex, strings.Join(values, ";"))
}

// Each series of the sidecar's golden pages is kept whole, but for what a hostile libvirt said.
func TestGenuineSeriesAreKept(t *testing.T) {
	pages, err := filepath.Glob("../../sidecar/exposition/testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	for _, path := range pages {
		for _, labels := range samples(t, path) {
			hostile := filepath.Base(path) == "hostile-machine.txt" && labels["__name__"] == "kubevirt_vmi_hypervisor_domain_info"
			require.Equal(t, !hostile, kept(t, labels), "%s: %v", path, labels)
		}
	}
}

// build_info is not in the goldens, since it is of the build.
func TestBuildInfoIsKept(t *testing.T) {
	for _, version := range []string{"v0.1.0", "v0.1.0-3-g0123abc-dirty", ""} {
		require.True(t, kept(t, map[string]string{
			"__name__": "hypervisor_exporter_build_info", "version": version, "revision": strings.Repeat("0", 40), "branch": "main",
			"goversion": "go1.26.1", "goos": "linux", "goarch": "arm64", "tags": "nethttpomithttp2",
		}), version)
	}
}

func TestOtherSeriesAreDropped(t *testing.T) {
	info := func(pairs ...string) map[string]string {
		labels := map[string]string{
			"__name__": "kubevirt_vmi_hypervisor_domain_info", "domain_type": "kvm", "arch": "x86_64", "machine": "pc-q35-9.1",
			"hypervisor_version": "9.1.0", "libvirt_version": "10.10.0",
		}
		for i := 0; i < len(pairs); i += 2 {
			labels[pairs[i]] = pairs[i+1]
		}
		return labels
	}
	require.True(t, kept(t, info()))
	for _, change := range [][]string{
		{"domain_type", "kvm2"}, {"domain_type", "call 555-0100"}, {"arch", "x86"}, {"machine", strings.Repeat("m", 65)}, {"machine", "a\nb"}, {"machine", "a;b"},
		{"hypervisor_version", "9.1"}, {"libvirt_version", "9.1.0\n"}, {"hypervisor_type", "kvm"}, {"reason", "booted"}, {"hyperv", "much"}, {"cpu_model", "a b"}, {"replica", "b"}, {"target_cluster", "=prod-b"},
		{"exported_name", "web"}, {"__name__", "kubevirt_vmi_hypervisor_info"}, {"__name__", "ALERTS"}, {"__name__", "go_goroutines"},
	} {
		require.False(t, kept(t, info(change...)), "%v", change)
	}
	for _, name := range []string{"kubevirt_vmi_hypervisor_info", "hypervisor_exporter_detections_total", "up", "vmi:kubevirt_vmi_hypervisor_info:newest"} {
		require.False(t, kept(t, map[string]string{"__name__": name}), name)
	}
}

// The target's names are what Kubernetes allows, and no longer.
func TestTargetNamesAreBounded(t *testing.T) {
	bounds := map[string]*regexp.Regexp{}
	for _, rule := range Targets() {
		require.Equal(t, "keep", rule.Action)
		require.Len(t, rule.Source, 1)
		bounds[rule.Source[0]] = regexp.MustCompile("^(?s:" + rule.Regex + ")$")
	}
	for _, rule := range Names() {
		longest := 253
		if rule.TargetLabel == "namespace" {
			longest = 63
		}
		bound := bounds[rule.Source[0]]
		require.NotNil(t, bound, "%s becomes a label", rule.Source[0])
		for _, name := range []string{"a", "web-1", "0a", strings.Repeat("a", longest)} {
			require.True(t, bound.MatchString(name), "%s: %s", rule.TargetLabel, name)
		}
		for _, name := range []string{"", "My VM", "-a", "a-", "a\n", "ä", strings.Repeat("a", longest+1), strings.Repeat("x", 250_000)} {
			require.False(t, bound.MatchString(name), "%s: %.20s", rule.TargetLabel, name)
		}
	}
	require.False(t, slices.ContainsFunc(append(Targets(), Names()...), func(rule Rule) bool {
		return strings.Contains(strings.Join(rule.Source, " "), "label_") || strings.Contains(strings.Join(rule.Source, " "), "annotation_")
	}), "nothing that a VM's owner can write")
}

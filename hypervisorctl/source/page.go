package source

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// largestPage is what is read of a page; the sidecar's has 5 KiB.
const largestPage = 256 << 10

// Parse reads a sidecar's page in the text format and returns what it reports about the VMI. A tenant may have written the
// page: it is used only if its series name the VMI, and only labels and values that a sidecar can have are believed.
func Parse(page []byte, key types.NamespacedName) (Finding, error) {
	families, err := familiesOf(page)
	if err != nil {
		return Finding{}, err
	}
	found := map[string]*series{}
	for _, metric := range vmMetrics() {
		if found[metric], err = seriesOf(families[metric], key); err != nil {
			return Finding{}, err
		}
	}
	if found[infoMetric] == nil {
		return Finding{}, noSeries(families[infoMetric])
	}
	return finding(found)
}

// familiesOf parses a page.
func familiesOf(page []byte) (map[string]*dto.MetricFamily, error) {
	if len(page) > largestPage {
		return nil, fmt.Errorf("the sidecar's page has %d bytes, more than %d", len(page), largestPage)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, fmt.Errorf("read the sidecar's page: %w", err)
	}
	return families, nil
}

// noSeries is the error for a page without a series of the VMI: it names another VM if there is one.
func noSeries(family *dto.MetricFamily) error {
	for _, metric := range family.GetMetric() {
		one := labelsOf(metric)
		return fmt.Errorf("the sidecar's page names another VM, %s/%s: webhooks of earlier releases take the name from "+
			"an annotation that the VM's owner can write; upgrade the webhook, then migrate or restart the VM",
			printable(one["namespace"]), printable(one["name"]))
	}
	return ErrNoSeries
}

func labelsOf(metric *dto.Metric) labels {
	all := labels{}
	for _, pair := range metric.GetLabel() {
		all[pair.GetName()] = pair.GetValue()
	}
	return all
}

// seriesOf returns the one series of the VMI; nil if it has none.
func seriesOf(family *dto.MetricFamily, key types.NamespacedName) (*series, error) {
	var found *series
	for _, metric := range family.GetMetric() {
		one := labelsOf(metric)
		if one["namespace"] != key.Namespace || one["name"] != key.Name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("the sidecar's page shows %s more than once in %s", key, family.GetName())
		}
		found = &series{one, metric.GetGauge().GetValue()}
	}
	return found, nil
}

// printable makes a tenant's text fit for a column: on one line, without escape sequences, and short.
func printable(text string) string {
	const enough = 64
	clean := terminal.Line(text)
	if utf8.RuneCountInString(clean) > enough {
		return string([]rune(clean)[:enough-1]) + "…"
	}
	return clean
}

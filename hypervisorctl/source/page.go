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

const (
	infoMetric   = "kubevirt_vmi_hypervisor_info"
	domainMetric = "kubevirt_vmi_hypervisor_domain_info"
	// largestPage is what is read of a page; the sidecar's has 3 KiB.
	largestPage = 256 << 10
)

// Parse reads a sidecar's page in the text format and returns what it reports about the VMI. A tenant may have written the
// page: it is used only if its one series names the VMI, and what cannot be printed is replaced.
func Parse(page []byte, key types.NamespacedName) (Finding, error) {
	if len(page) > largestPage {
		return Finding{}, fmt.Errorf("the sidecar's page has %d bytes, more than %d", len(page), largestPage)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return Finding{}, fmt.Errorf("read the sidecar's page: %w", err)
	}
	info, err := seriesOf(families[infoMetric], key)
	if err != nil {
		return Finding{}, err
	}
	if info == nil {
		return Finding{}, noSeries(families[infoMetric])
	}
	domain, err := seriesOf(families[domainMetric], key)
	if err != nil {
		return Finding{}, err
	}
	return finding(info, domain)
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

// seriesOf returns the labels of the one series of the VMI; nil if it has none.
func seriesOf(family *dto.MetricFamily, key types.NamespacedName) (labels, error) {
	var found labels
	for _, metric := range family.GetMetric() {
		one := labelsOf(metric)
		if one["namespace"] != key.Namespace || one["name"] != key.Name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("the sidecar's page shows %s more than once in %s", key, family.GetName())
		}
		found = one
	}
	return found, nil
}

// finding puts together the labels of both metrics; domain may be nil.
func finding(info, domain labels) (Finding, error) {
	switch kind := info["hypervisor_type"]; kind {
	case "kvm", "qemu-tcg", "unknown":
		return Finding{
			Type:              kind,
			DomainType:        printable(domain["domain_type"]),
			Arch:              printable(domain["arch"]),
			Machine:           printable(domain["machine"]),
			HypervisorVersion: printable(domain["hypervisor_version"]),
			LibvirtVersion:    printable(domain["libvirt_version"]),
		}, nil
	default:
		return Finding{}, fmt.Errorf("the sidecar's page has the hypervisor_type %q, which this release does not know", printable(kind))
	}
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

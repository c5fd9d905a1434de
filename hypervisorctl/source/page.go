package source

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

const (
	infoMetric   = "kubevirt_vmi_hypervisor_info"
	domainMetric = "kubevirt_vmi_hypervisor_domain_info"
	// largestPage is what is read of a page; the sidecar's has 3 KiB.
	largestPage = 256 << 10
)

// Parse reads a sidecar's page in the text format and takes from it what it says of the VMI. The page comes from a pod
// that a tenant may have written: what it says of other VMIs is not taken, and what cannot be printed is replaced.
func Parse(page []byte, key vm.Key) (Finding, error) {
	if len(page) > largestPage {
		return Finding{}, fmt.Errorf("the sidecar's page has %d bytes, more than %d", len(page), largestPage)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return Finding{}, fmt.Errorf("read the sidecar's page: %w", err)
	}
	info, err := labelsOf(families[infoMetric], key)
	if err != nil {
		return Finding{}, err
	}
	if info == nil {
		return Finding{}, ErrNoSeries
	}
	domain, err := labelsOf(families[domainMetric], key)
	if err != nil {
		return Finding{}, err
	}
	return finding(info, domain)
}

// labelsOf returns the labels of the one series of the VMI; nil where it has none.
func labelsOf(family *dto.MetricFamily, key vm.Key) (map[string]string, error) {
	var found map[string]string
	for _, metric := range family.GetMetric() {
		labels := map[string]string{}
		for _, pair := range metric.GetLabel() {
			labels[pair.GetName()] = pair.GetValue()
		}
		if labels["namespace"] != key.Namespace || labels["name"] != key.Name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("the sidecar's page shows %s more than once in %s", key, family.GetName())
		}
		found = labels
	}
	return found, nil
}

// finding puts together the labels of both metrics; domain may be nil.
func finding(info, domain map[string]string) (Finding, error) {
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
		return Finding{}, fmt.Errorf("the sidecar's page has the hypervisor_type %q, which no version of it knows", printable(kind))
	}
}

// printable makes a tenant's text fit for a terminal and a column: on one line, without escape sequences, and short.
func printable(text string) string {
	const enough = 64
	clean := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if utf8.RuneCountInString(clean) > enough {
		return string([]rune(clean)[:enough-1]) + "…"
	}
	return clean
}

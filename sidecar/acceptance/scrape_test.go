package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

const (
	infoMetric   = "kubevirt_vmi_hypervisor_info"
	domainMetric = "kubevirt_vmi_hypervisor_domain_info"
	absent       = ""

	upMetric       = "hypervisor_exporter_libvirt_up"
	connectsMetric = "hypervisor_exporter_libvirt_connects_total"
	errorMetric    = "hypervisor_exporter_detection_error"
	changeMetric   = "hypervisor_exporter_last_change_timestamp_seconds"
)

// scraper asks one sidecar for its pages.
type scraper struct {
	vmi    vmi
	client *http.Client
	// text is the last page, and parsed what it says: most scrapes find the same page.
	text   string
	parsed page
}

func newScraper(t *testing.T, listen string, v vmi) *scraper {
	network, address := "tcp", listen
	if path, isUnix := strings.CutPrefix(listen, "unix://"); isUnix {
		network, address = "unix", path
	}
	transport := &http.Transport{
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &scraper{vmi: v, client: &http.Client{Transport: transport, Timeout: testkit.Patience}}
}

// get returns a page whatever its status.
func (s *scraper) get(path string) (status int, body []byte, err error) {
	response, err := s.client.Get("http://sidecar" + path)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// page is one parsed scrape.
type page struct {
	vmi      vmi
	families map[string]*dto.MetricFamily
}

// scrape returns the metrics; anything but a well-formed 200 is an error.
func (s *scraper) scrape() (page, error) {
	status, body, err := s.get("/metrics")
	if err != nil {
		return page{}, err
	}
	if status != http.StatusOK {
		return page{}, fmt.Errorf("scrape answered %d: %s", status, body)
	}
	if s.text != string(body) {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
		if err != nil {
			return page{}, err
		}
		s.text, s.parsed = string(body), page{s.vmi, families}
	}
	return s.parsed, nil
}

// hypervisor returns the type that the page shows for the VMI, absent if none. It is
// an error if the page breaks one of the promises about the two info metrics.
func (p page) hypervisor() (string, error) {
	info, err := p.labels(infoMetric)
	if err != nil {
		return "", err
	}
	domain, err := p.labels(domainMetric)
	if err != nil {
		return "", err
	}
	if info == nil {
		if domain != nil {
			return "", fmt.Errorf("%s %v is there without %s", domainMetric, domain, infoMetric)
		}
		return absent, nil
	}
	kind := info["hypervisor_type"]
	want := map[string]string{"namespace": p.vmi.namespace, "name": p.vmi.name, "node": p.vmi.node, "hypervisor_type": kind}
	if !maps.Equal(info, want) {
		return "", fmt.Errorf("%s has the labels %v, want %v", infoMetric, info, want)
	}
	if kind != "kvm" && kind != "qemu-tcg" && kind != "unknown" {
		return "", fmt.Errorf("%s has the type %q", infoMetric, kind)
	}
	return kind, nil
}

// labels returns those of the only series of an info metric, nil if there is none.
func (p page) labels(metric string) (map[string]string, error) {
	family := p.families[metric]
	if family == nil {
		return nil, nil
	}
	if len(family.Metric) != 1 || family.GetType() != dto.MetricType_GAUGE || family.Metric[0].GetGauge().GetValue() != 1 {
		return nil, fmt.Errorf("%s is not one gauge of value 1: %v", metric, family)
	}
	labels := map[string]string{}
	for _, pair := range family.Metric[0].Label {
		labels[pair.GetName()] = pair.GetValue()
	}
	return labels, nil
}

// number returns the sum over a metric's series, of those with the given label values if any.
func (p page) number(metric string, labels ...string) float64 {
	sum := 0.0
	for _, m := range p.families[metric].GetMetric() {
		have := map[string]string{}
		for _, pair := range m.Label {
			have[pair.GetName()] = pair.GetValue()
		}
		match := true
		for i := 0; i+1 < len(labels); i += 2 {
			match = match && have[labels[i]] == labels[i+1]
		}
		if match {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return sum
}

// page scrapes once.
func (p *sidecar) page(t *testing.T) page {
	t.Helper()
	found, err := p.scraper.scrape()
	require.NoError(t, err)
	return found
}

// awaitPage scrapes until want has no objection.
func (p *sidecar) awaitPage(t *testing.T, want func(page) error) {
	t.Helper()
	testkit.Eventually(t, func() error {
		found, err := p.scraper.scrape()
		if err != nil {
			return err
		}
		return want(found)
	})
}

// await scrapes until the sidecar shows the type, or absent.
func (p *sidecar) await(t *testing.T, kind string) {
	t.Helper()
	p.awaitPage(t, func(found page) error {
		shown, err := found.hypervisor()
		if err == nil && shown != kind {
			err = fmt.Errorf("shows %q, want %q", shown, kind)
		}
		return err
	})
}

// awaitUp scrapes until libvirt is (or is not) said to answer.
func (p *sidecar) awaitUp(t *testing.T, up bool) {
	t.Helper()
	want := 0.0
	if up {
		want = 1
	}
	p.awaitPage(t, func(found page) error {
		if got := found.number(upMetric); got != want {
			return fmt.Errorf("%s is %v, want %v", upMetric, got, want)
		}
		return nil
	})
}

// awaitServing waits until the sidecar answers.
func (p *sidecar) awaitServing(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, func() error {
		select {
		case <-p.Ended():
			require.FailNow(t, "the sidecar has ended", "%s", p.Log())
		default:
		}
		_, err := p.scraper.scrape()
		return err
	})
}

// holds scrapes for a while, in which the type may not change.
func (p *sidecar) holds(t *testing.T, kind string, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		shown, err := p.page(t).hypervisor()
		require.NoError(t, err)
		require.Equal(t, kind, shown)
	}
}

package reference

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// A metric is a row of the tables.
type metric struct {
	name, kind, help string
	labels           []string
}

func (m metric) row() []string {
	labels := make([]string, len(m.labels))
	for i, label := range m.labels {
		labels[i] = code(label)
	}
	return []string{code(m.name), m.kind, strings.Join(labels, " "), stability(m.name), m.help}
}

// stability is docs/support.md's word: one metric is stable.
func stability(name string) string {
	if name == "kubevirt_vmi_hypervisor_info" {
		return "STABLE"
	}
	return "EXPERIMENTAL"
}

func metricTable(metrics []metric) string {
	var rows [][]string
	for _, m := range metrics {
		rows = append(rows, m.row())
	}
	return table("metric | type | labels | stability | meaning", rows)
}

// docs/metrics.md has the metrics of every part: those of relay and webhook as their processes serve them.
func TestMetrics(t *testing.T) {
	relay := append(served(t, startRelay(t)), described(func(r prometheus.Registerer) { authorization.NewGuard(nil, r) })...)
	tables := map[string]string{
		"sidecar":      metricTable(ofSidecar()),
		"labels":       labelTable(),
		"relay":        metricTable(relay),
		"webhook":      metricTable(served(t, startWebhook(t))),
		"certificates": metricTable(described(func(r prometheus.Registerer) { certs.NewMetrics(r) })),
	}
	requireTables(t, "docs/metrics.md", tables)
	requireEachInTheSource(t, strings.Join([]string{tables["sidecar"], tables["relay"], tables["webhook"], tables["certificates"]}, ""))
}

// requireEachInTheSource fails for a metric that a program defines and no table has.
func requireEachInTheSource(t *testing.T, tables string) {
	t.Helper()
	names := regexp.MustCompile(`"((?:hypervisor_exporter|kubevirt_node|kubevirt_vmi_hypervisor)_[a-z_]+)"`)
	for _, room := range []string{"sidecar", "relay", "webhook"} {
		require.NoError(t, filepath.WalkDir("../../"+room, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, match := range names.FindAllStringSubmatch(string(source), -1) {
				require.Contains(t, tables, "`"+match[1], "%s: %s", path, match[1]) // or the beginning of names
			}
			return err
		}))
	}
}

func ofSidecar() []metric {
	var metrics []metric
	for _, m := range exposition.Metrics() {
		kind := "gauge"
		if m.Type == prometheus.CounterValue {
			kind = "counter"
		}
		metrics = append(metrics, metric{m.Name, kind, m.Help, m.Labels})
	}
	// client_golang's, which each program has under its own name.
	build := exposition.Shapes()[len(metrics)]
	labels := make([]string, len(build.Labels))
	for i, label := range build.Labels {
		labels[i] = label.Name
	}
	return append(metrics, metric{build.Metric, "gauge", "The exporter's build; the value is always 1.", labels})
}

// labelTable has the values of the labels that say something about a VM.
func labelTable() string {
	var rows [][]string
	seen := map[string]bool{}
	for _, shape := range exposition.Shapes() {
		for _, label := range shape.Labels {
			if seen[label.Name] || strings.HasSuffix(shape.Metric, "_build_info") {
				continue
			}
			seen[label.Name] = true
			rows = append(rows, []string{code(label.Name), code(label.Pattern)})
		}
	}
	return table("label | values", rows)
}

// startRelay starts the relay as on a node, but for the API server, and returns a request for its page.
func startRelay(t *testing.T) *http.Request {
	address, cert, key := testkit.FreeAddress(t), filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key)
	start(t, "relay", "--authorization=none", "--kubelet-pods-dir="+t.TempDir(), "--listen-address="+address,
		"--tls-cert-file="+cert, "--tls-private-key-file="+key)
	return request(t, "https://"+address+"/metrics")
}

func startWebhook(t *testing.T) *http.Request {
	address, cert, key := testkit.FreeAddress(t), filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	writeCertificate(t, cert, key)
	start(t, "webhook", "serve", "--sidecar-image=registry.example/sidecar:v1", "--bind-address=127.0.0.1", "--secure-port=0",
		"--metrics-bind-address="+address, "--health-probe-bind-address=127.0.0.1:0", "--shutdown-delay=0s",
		"--tls-cert-file="+cert, "--tls-private-key-file="+key)
	return request(t, "http://"+address+"/metrics")
}

func writeCertificate(t *testing.T, cert, key string) {
	t.Helper()
	const name = "reference.test.svc"
	ca, err := pki.NewCA(name, time.Now(), time.Hour)
	require.NoError(t, err)
	leaf, err := pki.IssueLeaf(ca, name, time.Now(), time.Hour)
	require.NoError(t, err)
	require.NoError(t, errors.Join(os.WriteFile(cert, leaf.CertPEM, 0o600), os.WriteFile(key, leaf.KeyPEM, 0o600)))
}

func start(t *testing.T, name string, args ...string) {
	t.Helper()
	process, err := testkit.Start(filepath.Join(t.TempDir(), name+".log"), exec.Command(binary(name), args...))
	require.NoError(t, err)
	t.Cleanup(process.Kill)
}

func request(t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

// served returns the product's metrics on a page. The counter of requests has a series from the second answer on, and the
// certificate's once it was read.
func served(t *testing.T, page *http.Request) []metric {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	var families map[string]*dto.MetricFamily
	ask := func() error {
		answer, err := client.Do(page)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err = parser.TextToMetricFamilies(answer.Body)
		return err
	}
	testkit.Eventually(t, func() error {
		if err := errors.Join(ask(), ask()); err != nil {
			return err
		}
		for name := range families {
			if strings.HasSuffix(name, "_certificate_not_after_timestamp_seconds") {
				return nil
			}
		}
		return errors.New("the page does not show the certificate")
	})
	var metrics []metric
	for name, family := range families {
		if !strings.HasPrefix(name, "hypervisor_exporter_") && !strings.HasPrefix(name, "kubevirt_") {
			continue // of the Go runtime and the process
		}
		m := metric{name: name, kind: strings.ToLower(family.GetType().String()), help: family.GetHelp()}
		for _, label := range family.GetMetric()[0].GetLabel() {
			m.labels = append(m.labels, label.GetName())
		}
		metrics = append(metrics, m)
	}
	slices.SortFunc(metrics, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return metrics
}

// described returns the metrics that are registered, with or without series.
func described(register func(prometheus.Registerer)) []metric {
	var metrics collected
	register(&metrics)
	return metrics
}

// collected is a prometheus.Registerer that notes the metrics.
type collected []metric

func (c *collected) MustRegister(collectors ...prometheus.Collector) {
	for _, collector := range collectors {
		_ = c.Register(collector) // never fails
	}
}

func (c *collected) Unregister(prometheus.Collector) bool { return false }

var description = regexp.MustCompile(`^Desc\{fqName: "(\w+)", help: ("(?:[^"\\]|\\.)*"), .*variableLabels: \{([^}]*)\}`)

// Register implements prometheus.Registerer.
func (c *collected) Register(collector prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 1)
	collector.Describe(descs)
	match := description.FindStringSubmatch((<-descs).String())
	var help string
	if _, err := fmt.Sscanf(match[2], "%q", &help); err != nil {
		return err
	}
	m := metric{name: match[1], help: help, kind: "gauge"}
	if match[3] != "" {
		m.labels = strings.Split(match[3], ",")
	}
	switch collector.(type) {
	case *prometheus.CounterVec:
		m.kind = "counter"
	case prometheus.Gauge, *prometheus.GaugeVec:
	case prometheus.Counter:
		m.kind = "counter"
	default:
		panic(fmt.Sprintf("%s is of another kind: %T", m.name, collector))
	}
	*c = append(*c, m)
	return nil
}

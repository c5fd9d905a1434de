package certs

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Metrics are the rotation's own metrics.
type Metrics struct {
	steps       *prometheus.CounterVec
	errors      prometheus.Counter
	lastSuccess prometheus.Gauge
	notAfter    *prometheus.GaugeVec
}

// NewMetrics registers the rotation's metrics.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	const namespace, subsystem = "hypervisor_exporter_webhook", "rotation"
	factory := promauto.With(registry)
	m := &Metrics{
		steps: factory.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "steps_total",
			Help: "Changes the certificate rotation has written, by kind.",
		}, []string{"step"}),
		errors: factory.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "errors_total",
			Help: "Failed attempts to read or write the certificates; each is tried again.",
		}),
		lastSuccess: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "last_success_timestamp_seconds",
			Help: "When the certificates were last checked without an error.",
		}),
		notAfter: factory.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "certificate_not_after_timestamp_seconds",
			Help: "End of the CA's and of the serving certificate in the Secrets; absent while there is none.",
		}, []string{"certificate"}),
	}
	for _, step := range []Step{IssueCA, Publish, IssueLeaf, Retire} {
		m.steps.WithLabelValues(step.String())
	}
	return m
}

func (m *Metrics) succeeded(now time.Time) { m.lastSuccess.Set(float64(now.Unix())) }

// observed shows the certificates' ends. A label value is an interface: it stays "authority".
func (m *Metrics) observed(s State) {
	for name, pair := range map[string]*pki.Pair{"authority": s.CA, "serving": s.Leaf} {
		if pair == nil {
			m.notAfter.DeleteLabelValues(name)
			continue
		}
		m.notAfter.WithLabelValues(name).Set(float64(pair.Certificate.NotAfter.Unix()))
	}
}

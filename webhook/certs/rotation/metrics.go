package rotation

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// Metrics is what the rotation shows of itself.
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
			Help: "When the certificates were last looked at without an error.",
		}),
		notAfter: factory.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "certificate_not_after_timestamp_seconds",
			Help: "End of the authority and of the serving certificate in the Secrets; absent while there is none.",
		}, []string{"certificate"}),
	}
	for _, step := range []Step{IssueAuthority, Publish, IssueLeaf, Retire} {
		m.steps.WithLabelValues(step.String())
	}
	return m
}

func (m *Metrics) took(step Step)          { m.steps.WithLabelValues(step.String()).Inc() }
func (m *Metrics) failed()                 { m.errors.Inc() }
func (m *Metrics) succeeded(now time.Time) { m.lastSuccess.Set(float64(now.Unix())) }

func (m *Metrics) observed(s State) {
	m.setNotAfter("authority", s.Authority)
	m.setNotAfter("serving", s.Leaf)
}

func (m *Metrics) setNotAfter(name string, pair *pki.Pair) {
	if pair == nil {
		m.notAfter.DeleteLabelValues(name)
		return
	}
	m.notAfter.WithLabelValues(name).Set(float64(pair.Certificate.NotAfter.Unix()))
}

package admission

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The values of the label result. A pod that is skipped is not a success.
const (
	resultInjected = "injected"
	resultSkipped  = "skipped"
	resultError    = "error"
)

// Metrics count what the handler does. Their labels have a fixed set of values.
type Metrics struct {
	admissions *prometheus.CounterVec
	rejected   *prometheus.CounterVec
	duration   prometheus.Histogram
	inFlight   prometheus.Gauge
	panics     prometheus.Counter
}

// NewMetrics registers the handler's metrics, all series at zero: otherwise a rate misses the
// first event of its kind.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	const namespace = "hypervisor_exporter_webhook"
	factory := promauto.With(registry)
	m := &Metrics{
		admissions: factory.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "admissions_total",
			Help: "Answered admissions of pods by result (injected, skipped, error) and reason. An error is an error of the webhook itself.",
		}, []string{"result", "reason"}),
		rejected: factory.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "rejected_requests_total",
			Help: "Requests without a decision, by reason. Anyone who reaches the port can cause them.",
		}, []string{"reason"}),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "admission_duration_seconds",
			Help: "Time from the request's header to the written answer; rejected requests are not included.",
			// The last bucket is the API server's timeout, after which an answer is useless.
			Buckets: []float64{.0005, .001, .003, .01, .1, .5, 2},
		}),
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "admissions_in_flight",
			Help: "Requests that are being answered.",
		}),
		panics: factory.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "panics_total",
			Help: "Panics while answering an admission; each left one pod without a sidecar.",
		}),
	}
	for _, reason := range inject.Reasons() {
		m.admissions.WithLabelValues(resultOf(reason), reason.String())
	}
	for _, problem := range Problems() {
		m.of(problem)
	}
	return m
}

func resultOf(reason inject.Reason) string {
	if reason == inject.Injected {
		return resultInjected
	}
	return resultSkipped
}

// of returns the counter of a problem.
func (m *Metrics) of(problem Problem) prometheus.Counter {
	if problem.Rejected() {
		return m.rejected.WithLabelValues(problem.String())
	}
	return m.admissions.WithLabelValues(resultError, problem.String())
}

func (m *Metrics) count(o outcome, took time.Duration) {
	if o.problem != nil {
		m.of(o.problem.kind).Inc()
		if o.problem.kind.Rejected() {
			return
		}
	} else {
		m.admissions.WithLabelValues(resultOf(o.decision.Reason), o.decision.Reason.String()).Inc()
	}
	m.duration.Observe(took.Seconds())
	if o.problem != nil && o.problem.kind == Panicked {
		m.panics.Inc()
	}
}

package scrape

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	scrapes  *prometheus.CounterVec
	duration prometheus.Histogram
}

// newMetrics registers the metrics. Every result is there from the start, so that
// a first failure is an increase.
func newMetrics(registry prometheus.Registerer, gate *gate) metrics {
	m := metrics{
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hypervisor_exporter_relay_scrapes_total",
			Help: "Scrapes of pods, by how they ended.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "hypervisor_exporter_relay_scrape_duration_seconds",
			Help:    "How long scrapes of pods took, failed ones included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .05, .25, 1, 5, 10},
		}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "hypervisor_exporter_relay_scrapes_in_flight",
		Help: "Scrapes of pods under way.",
	}, func() float64 { return float64(gate.inFlight()) })
	registry.MustRegister(m.scrapes, m.duration, inFlight)
	for result := range results {
		m.scrapes.WithLabelValues(result.String())
	}
	return m
}

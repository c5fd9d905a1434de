// Gauge is the sidecar's yardstick: the least that an exporter with client_golang can be, one static gauge.
//
//	gauge ADDRESS
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "gauge_info", Help: "Always 1."})
	gauge.Set(1)
	registry := prometheus.NewRegistry()
	registry.MustRegister(gauge)
	http.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
		MaxRequestsInFlight: 32,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	}))
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}

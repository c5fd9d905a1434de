// Package yardstick serves the metrics of the bench's yardsticks the way the
// sidecar serves its own, so that what differs is the work behind a scrape.
package yardstick

import (
	"log"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Serve serves the collector's metrics at /metrics until the process is killed.
func Serve(address string, collector prometheus.Collector) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, options()))
	log.Fatal(http.ListenAndServe(address, mux))
}

// options are those of sidecar/exposition/handler.go.
func options() promhttp.HandlerOpts {
	return promhttp.HandlerOpts{
		ErrorHandling:       promhttp.HTTPErrorOnError,
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
		MaxRequestsInFlight: 32,
		CoalesceGather:      true,
		Timeout:             5 * time.Second,
		EnableOpenMetrics:   true,
	}
}

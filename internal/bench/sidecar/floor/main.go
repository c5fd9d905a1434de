// Floor is the least that an exporter with client_golang can be: one static gauge.
package main

import (
	"flag"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/bench/sidecar/yardstick"
)

func main() {
	address := flag.String("listen", "127.0.0.1:9478", "host:port to serve on")
	flag.Parse()
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "floor_info", Help: "Always 1."})
	gauge.Set(1)
	yardstick.Serve(*address, gauge)
}

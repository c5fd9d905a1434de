package promtest

import (
	"fmt"
	"math"
	"strings"
)

const (
	webhookJob = "hypervisor-exporter/hypervisor-exporter-webhook"
	relayJob   = "hypervisor-exporter-relay/hypervisor-exporter-relay"
	day        = 86400
)

// writeControl writes what the webhook's replicas, the certificate process, the relays
// and KubeVirt show at that sample.
func writeControl(out *strings.Builder, i int, at int64) {
	line := func(metric, labels string, value float64) {
		fmt.Fprintf(out, "%s{%s} %g %d\n", metric, labels, value, at)
	}
	for number := range 2 {
		replica := fmt.Sprintf(`job=%q,namespace="hypervisor-exporter",container="webhook",pod="hypervisor-exporter-webhook-%d",instance="10.0.0.%d:8080"`,
			webhookJob, number, number)
		line("up", replica, 1)
		line("hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds", replica, float64(at+21*day))
		asked := workday(i)
		for reason, share := range map[string]float64{"injected": 0.8, "opted_out": 0.15, "not_virt_launcher": 0} {
			result := "skipped"
			if reason == "injected" {
				result = "injected"
			}
			line("hypervisor_exporter_webhook_admissions_total", replica+fmt.Sprintf(",result=%q,reason=%q", result, reason), math.Round(asked*share))
		}
		line("hypervisor_exporter_webhook_admissions_total", replica+`,result="error",reason="panic"`, 0)
		line("hypervisor_exporter_webhook_rejected_requests_total", replica+`,reason="not_a_review"`, float64(i))
		histogram(line, "hypervisor_exporter_webhook_admission_duration_seconds", replica, asked,
			[]string{"0.0005", "0.001", "0.003", "0.01", "0.1", "0.5", "2", "+Inf"}, []float64{.3, .85, .97, .995, 1, 1, 1, 1})
	}
	for number := 1; number <= 5; number++ {
		target := fmt.Sprintf(`job=%q,namespace="hypervisor-exporter-relay",node="node-%d",container="relay",instance="node-%d:9478"`, relayJob, number, number)
		scrapes := float64(i) * 34
		line("up", target, 1)
		line("hypervisor_exporter_relay_scrapes_total", target+`,result="ok"`, scrapes)
		line("hypervisor_exporter_relay_scrapes_total", target+`,result="timeout"`, math.Max(0, float64(i-samples+50))*4*boolean(number == 3))
		histogram(line, "hypervisor_exporter_relay_scrape_duration_seconds", target, scrapes,
			[]string{"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.05", "0.25", "1", "5", "10", "+Inf"}, []float64{.1, .7, .95, .99, .995, 1, 1, 1, 1, 1, 1})
	}
	line("kubevirt_vmi_info", `job="kubevirt-prometheus-metrics",namespace="legacy",name="mainframe",node="node-3",phase="running",vmi_pod="virt-launcher-mainframe"`, 1)
}

// workday counts admissions: more in the middle of the six hours than at their ends.
func workday(i int) float64 {
	x := float64(i) / float64(samples)
	return 400 * (x - math.Sin(2*math.Pi*x)/(2*math.Pi))
}

func histogram(line func(string, string, float64), metric, labels string, count float64, bounds []string, shares []float64) {
	for i, bound := range bounds {
		line(metric+"_bucket", labels+fmt.Sprintf(",le=%q", bound), count*shares[i])
	}
	line(metric+"_count", labels, count)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

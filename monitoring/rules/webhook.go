package rules

import "time"

const (
	// Both are below what is left when the certificate is due to be renewed
	// (docs/operations.md): 10 days of the serving certificate, 30 of the CA.
	servingLeft = "7 * 86400"
	caLeft      = "20 * 86400"
)

func webhook() Group {
	return Group{
		Name:   "hypervisor-exporter-webhook",
		Alerts: []Alert{webhookDown(), webhookErrors(), webhookBypassed(), podsRefused()},
	}
}

// certs has a PrometheusRule of its own: with the admission policy there are certificates and no webhook.
func certs() Group {
	return Group{Name: "hypervisor-exporter-certs", Alerts: []Alert{certificateExpiring()}}
}

// replicas are the webhook's targets. With the admission policy, its job has the certificate process only.
const replicas = `up{job="` + WebhookJob + `",container!="certs"}[1d]`

// webhookDown asks for each cluster that had a webhook within the last day; if none had, absent_over_time makes it fire once,
// so that a Prometheus of one cluster reports a webhook that it has never seen.
func webhookDown() Alert {
	return Alert{
		Name: "HypervisorExporterWebhookDown",
		Expr: `group by (cluster) (
  present_over_time(` + replicas + `)
  or
  absent_over_time(` + replicas + `)
)
unless on (cluster)
  hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds` + ofWebhook + ` > time()`,
		For:         5 * time.Minute,
		Severity:    Critical,
		Summary:     "No replica of the webhook can inject the exporter.",
		Description: `Prometheus has seen no replica of the webhook with a valid certificate for 5 minutes. VMs that start now have no exporter until they are restarted or migrated.`,
		Why:         "A replica without a valid certificate is up, but the API server cannot use it. Beside other clusters, a cluster is known by the webhook's targets of the last day.",
	}
}

func webhookErrors() Alert {
	return Alert{
		Name:        "HypervisorExporterWebhookErrors",
		Expr:        `sum by (cluster, reason) (increase(hypervisor_exporter_webhook_admissions_total{job="` + WebhookJob + `",result="error"}[15m])) > 0`,
		Severity:    Warning,
		Summary:     "The webhook could not answer an admission because of an internal error.",
		Description: `The webhook had an internal error in about {{ $value | printf "%.0f" }} admissions in the last 15 minutes (reason {{ $labels.reason }}). VMs among them started without an exporter.`,
		Why:         "The counter of each reason starts at zero, so the first error counts. Requests that anyone who reaches the port can send have their own counter (hypervisor_exporter_webhook_rejected_requests_total) and do not fire it.",
	}
}

// failOpen is the API server's counter. It has no series before the first event, so
// that increase alone misses that one: a series that is new at a target that is not
// counts as well.
const failOpen = `apiserver_admission_webhook_fail_open_count{` + NotVMs + `,name="inject.hypervisor-exporter.kubevirt.io"}`

func webhookBypassed() Alert {
	return Alert{
		Name: "HypervisorExporterWebhookBypassed",
		Expr: `sum by (cluster) (
  increase(` + failOpen + `[15m]) > 0
  or
  (
    ` + failOpen + `
    unless ` + failOpen + ` offset 15m
    and on (cluster, job, instance) up{` + NotVMs + `} offset 15m
  )
) > 0`,
		Severity:    Warning,
		Summary:     "The API server created pods without asking the webhook.",
		Description: `The API server got no answer from the webhook within 2 seconds for about {{ $value | printf "%.0f" }} pods in the last 15 minutes, and created them without it. VMs among them have no exporter. Dry runs of kubectl hypervisor check count, too.`,
		Why:         "Silent if the API server's metrics are not scraped. Its counter has no series before the first event; increase alone would miss that event.",
	}
}

func podsRefused() Alert {
	return Alert{
		Name:        "HypervisorExporterPodsRefused",
		Expr:        `sum by (cluster) (increase(hypervisor_exporter_webhook_admissions_total{job="` + WebhookJob + `",reason="refused_before"}[30m])) > 0`,
		Severity:    Warning,
		Summary:     "VMs start without the exporter because something refuses their pods with it.",
		Description: `The API server refused pods of VMs that contained the exporter. So the webhook left about {{ $value | printf "%.0f" }} of the pods that followed unchanged in the last 30 minutes. Their VMs start without an exporter, or something else still refuses them. The webhook's log names the VMs; the VMs' events name what refuses their pods.`,
		Why:         "30 minutes, because KubeVirt retries a VM that waits for a quota at intervals of up to 1000 seconds. Anyone who reaches the webhook's port can fire it with made-up reviews; no one can silence it.",
	}
}

// inSecret is the end of the certificates in the Secrets, which only the certificate process shows.
const inSecret = "hypervisor_exporter_webhook_rotation_certificate_not_after_timestamp_seconds"

// inUse is the end of the serving certificates that the webhook's replicas and the relays use, whatever issued them.
const inUse = `label_replace(
  label_replace(
    min by (cluster) (hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds` + ofWebhook + `),
    "serves", "webhook", "", ""
  )
  or
  label_replace(
    min by (cluster) (hypervisor_exporter_relay_certificate_not_after_timestamp_seconds` + ofRelay + `),
    "serves", "relay", "", ""
  ),
  "certificate", "serving", "", ""
)`

func certificateExpiring() Alert {
	return Alert{
		Name: "HypervisorExporterCertificateExpiring",
		Expr: inUse + ` - time() < ` + servingLeft + `
or
min by (cluster, serves, certificate) (
  ` + inSecret + `{job="` + WebhookJob + `",serves="relay",certificate="serving"}
) - time() < ` + servingLeft + `
or
min by (cluster, serves, certificate) (
  ` + inSecret + `{job="` + WebhookJob + `",certificate="authority"}
) - time() < ` + caLeft,
		For:         10 * time.Minute,
		Severity:    Warning,
		Summary:     "A certificate of the webhook or the relay was not renewed in time.",
		Description: `The {{ $labels.serves }}'s {{ $labels.certificate }} certificate expires in {{ $value | humanizeDuration }}. It should have been renewed days ago. Once it has expired, VMs start without an exporter (webhook) or cannot be scraped (relay).`,
		Why:         "The serving certificate is renewed with 10 days left and the CA with 30, so both limits mean days of failed renewal. Prometheus cannot scrape a relay whose certificate has expired; the Secret keeps the alert firing then. The CA is known only from our certificate process: with cert-manager, use its own metrics.",
	}
}

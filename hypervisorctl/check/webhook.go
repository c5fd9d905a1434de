package check

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	webhookSection section = "webhook"
	// soon is when a certificate that expires is a warning: the certificates are renewed 10 days (serving) and 30 days (CA)
	// before they expire, so the renewal fails and there is a week to fix it.
	soon              = 7 * 24 * time.Hour
	certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"
	installHint       = "kubectl apply -k manifests"
	certificateHint   = "check the certificate process: kubectl -n hypervisor-exporter logs deploy/hypervisor-exporter-certs (or cert-manager's Certificate)"
)

// configurationLines judges the webhook's registration at the API server.
func configurationLines(configuration *admissionv1.MutatingWebhookConfiguration, now time.Time) []Line {
	const s = webhookSection
	if len(configuration.Webhooks) == 0 {
		return []Line{s.fail(installHint, "MutatingWebhookConfiguration %s has no webhook", configuration.Name)}
	}
	lines := []Line{s.ok("MutatingWebhookConfiguration %s exists", configuration.Name)}
	for i := range configuration.Webhooks {
		webhook := &configuration.Webhooks[i]
		lines = append(lines, bundleLine(webhook, now))
		if policy := webhook.FailurePolicy; policy == nil || *policy != admissionv1.Ignore {
			lines = append(lines, s.warn("set it back to Ignore: "+installHint,
				"failurePolicy of %s is not Ignore: while the webhook is down, no VM starts", webhook.Name))
		}
	}
	return lines
}

func bundleLine(webhook *admissionv1.MutatingWebhook, now time.Time) Line {
	const s = webhookSection
	if len(webhook.ClientConfig.CABundle) == 0 {
		return s.fail(certificateHint, "caBundle of %s is empty: the API server trusts no webhook, and VMs start without a sidecar", webhook.Name)
	}
	authorities, err := authoritiesOf(webhook.ClientConfig.CABundle)
	if err != nil {
		return s.fail(certificateHint, "caBundle of %s: %s", webhook.Name, err)
	}
	// One valid CA is enough: the old one stays for a while beside the new one.
	end := authorities[0].NotAfter
	for _, one := range authorities[1:] {
		if one.NotAfter.After(end) {
			end = one.NotAfter
		}
	}
	return endLine(fmt.Sprintf("caBundle of %s", webhook.Name), end, now)
}

func endLine(what string, end, now time.Time) Line {
	const s = webhookSection
	day := end.UTC().Format(time.DateOnly)
	switch {
	case !end.After(now):
		return s.fail(certificateHint, "%s: expired on %s", what, day)
	case end.Sub(now) < soon:
		return s.warn(certificateHint, "%s: expires on %s and was not renewed in time", what, day)
	default:
		return s.ok("%s: valid until %s", what, day)
	}
}

func authoritiesOf(bundle []byte) ([]*x509.Certificate, error) {
	var found []*x509.Certificate
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("holds no certificate")
	}
	return found, nil
}

// deploymentLines judges the webhook's replicas.
func deploymentLines(deployment *appsv1.Deployment) []Line {
	const s = webhookSection
	want := int32(1)
	if deployment.Spec.Replicas != nil {
		want = *deployment.Spec.Replicas
	}
	ready := deployment.Status.ReadyReplicas
	hint := "kubectl -n " + deployment.Namespace + " get pods -l " + product.WebhookSelector
	switch {
	case want == 0:
		return []Line{s.fail("kubectl -n "+deployment.Namespace+" scale deployment "+product.Webhook+" --replicas=2",
			"Deployment %s is scaled to 0: VMs start without a sidecar", product.Webhook)}
	case ready == 0:
		return []Line{s.fail(hint, "no replica is ready (of %d): VMs start without a sidecar", want)}
	case ready < want:
		return []Line{s.warn(hint, "%d of %d replicas are ready", ready, want)}
	case deployment.Status.UpdatedReplicas < want:
		return []Line{s.warn(hint, "%d of %d replicas have the newest configuration", deployment.Status.UpdatedReplicas, want)}
	default:
		return []Line{s.ok("%d of %d replicas are ready", ready, want)}
	}
}

func addressLine(ready int) Line {
	const s = webhookSection
	if ready == 0 {
		return s.fail("kubectl -n hypervisor-exporter get endpointslices", "Service %s has no ready address: the API server finds no webhook", product.Webhook)
	}
	return s.ok("Service %s has ready addresses: %d", product.Webhook, ready)
}

// servingLine judges the certificate that a replica serves with, by its metrics page: the Secret with the certificate also
// has its key, which a check should not read.
func servingLine(pod string, page []byte, now time.Time) Line {
	const s = webhookSection
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return s.fail("check the pod's log", "pod %s: metrics cannot be read: %s", pod, err)
	}
	for _, metric := range families[certificateMetric].GetMetric() {
		end := time.Unix(int64(metric.GetGauge().GetValue()), 0)
		return endLine("certificate of pod "+pod, end, now)
	}
	return s.fail(certificateHint, "pod %s serves no certificate", pod)
}

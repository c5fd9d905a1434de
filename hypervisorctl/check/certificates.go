package check

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	admissionv1 "k8s.io/api/admissionregistration/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

const (
	// soon is when a certificate that expires is a warning: the certificates are renewed 10 days (serving) and 30 days (CA)
	// before they expire, so the renewal fails and there is a week to fix it.
	soon              = 7 * 24 * time.Hour
	admissionsMetric  = "hypervisor_exporter_webhook_admissions_total"
	certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"
	certificateHint   = "the log says why it is not renewed: kubectl -n %s logs deploy/" + cluster.Certs + "; with cert-manager: kubectl get certificates -A"
)

// renewHint names what renews certificates.
func (r *run) renewHint() string { return fmt.Sprintf(certificateHint, r.request.Exporter) }

func bundleLine(webhook *admissionv1.MutatingWebhook, renew string, now time.Time) Line {
	what := "caBundle of " + webhook.Name
	if len(webhook.ClientConfig.CABundle) == 0 {
		return fail(renew, "%s is empty: the API server cannot call the webhook, and VMs start without a sidecar", what).see(pageCertificates)
	}
	end, err := lastCAEnds(webhook.ClientConfig.CABundle)
	if err != nil {
		return fail(renew, "%s: %s", what, err).see(pageCertificates)
	}
	return endLine(what, renew, end, now)
}

// lastCAEnds returns when the last CA of a bundle expires. One valid CA is enough: the old one stays for a while beside the
// new one.
func lastCAEnds(bundle []byte) (last time.Time, err error) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		ca, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return last, fmt.Errorf("contains a certificate that cannot be read: %w", err)
		}
		if ca.NotAfter.After(last) {
			last = ca.NotAfter
		}
	}
	if last.IsZero() {
		return last, errors.New("contains no certificate")
	}
	return last, nil
}

func endLine(what, renew string, end, now time.Time) Line {
	day := end.UTC().Format(time.DateOnly)
	switch {
	case !end.After(now):
		return fail(renew, "%s: expired on %s", what, day).see(pageCertificates)
	case end.Sub(now) < soon:
		return warn(renew, "%s: expires on %s and was not renewed in time", what, day).see(pageCertificates)
	default:
		return ok("%s: valid until %s", what, day)
	}
}

// certificates checks the certificate of each ready replica by its metrics page: the Secret with the certificate also has
// its key, which a check should not read.
func (r *run) certificates() ([]Line, error) {
	pods, err := r.reader.Pods(r.ctx, r.request.Exporter, cluster.WebhookSelector)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for i := range pods {
		if !isReady(&pods[i]) {
			continue // the line of the replicas reports it
		}
		page, err := r.reader.WebhookPage(r.ctx, &pods[i])
		if err != nil {
			lines = append(lines, unread("certificate of pod "+pods[i].Name, err))
			continue
		}
		lines = append(lines, pageLines(pods[i].Name, page, r.renewHint(), r.request.Now)...)
	}
	return lines, nil
}

// pageLines judges a replica by its metrics.
func pageLines(pod string, page []byte, renew string, now time.Time) []Line {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return []Line{fail("check the pod's log", "pod %s: metrics cannot be read: %s", pod, err)}
	}
	lines := []Line{fail(renew, "pod %s serves no certificate", pod).see(pageCertificates)}
	for _, metric := range families[certificateMetric].GetMetric() {
		lines[0] = endLine("certificate of pod "+pod, renew, time.Unix(int64(metric.GetGauge().GetValue()), 0), now)
	}
	errs := 0.0
	for _, metric := range families[admissionsMetric].GetMetric() {
		for _, label := range metric.GetLabel() {
			if label.GetName() == "result" && label.GetValue() == "error" {
				errs += metric.GetCounter().GetValue()
			}
		}
	}
	if errs > 0 {
		lines = append(lines, warn("kubectl logs "+pod+": each error has a line", "pod %s could not decide about pods since it started (errors: %.0f): VMs started without a sidecar", pod, errs).see(pageErrors))
	}
	return lines
}

// certificateProcess checks the Deployment of the certificate process, if there is one: not with cert-manager, nor with a
// policy without a relay.
func (r *run) certificateProcess() ([]Line, error) {
	deployment := r.parts.certs.object
	if deployment == nil {
		return nil, r.parts.certs.err
	}
	lines := refusedDeployment(deployment)
	if len(lines) == 0 && deployment.Status.ReadyReplicas == 0 && deployment.Status.Replicas > 0 {
		lines = append(lines, warn(r.renewHint(), "the certificate process is not ready: certificates are not renewed").see(pageCertificates))
	}
	return lines, nil
}

package check

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

const (
	// soon is when a certificate that expires is a warning: the certificates are renewed 10 days (serving) and 30 days (CA)
	// before they expire, so the renewal fails and there is a week to fix it.
	soon              = 7 * 24 * time.Hour
	admissionsMetric  = "hypervisor_exporter_webhook_admissions_total"
	certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"
	installHint       = "apply the manifests or the chart again"
	certificateHint   = "kubectl -n %s logs deploy/" + cluster.Certs + ": why does it not renew? With cert-manager: kubectl get certificates -A"
)

// renewHint names what renews certificates.
func (r *run) renewHint() string { return fmt.Sprintf(certificateHint, r.request.Exporter) }

// registration checks the webhook's registration at the API server.
func (r *run) registration() ([]Line, error) {
	if r.place.Webhook == nil {
		return nil, r.placeErr
	}
	lines, err := registrationLines(r.place.Webhook, r.renewHint(), r.request.Now)
	if err != nil {
		return lines, err
	}
	changed, err := driftLines(r.place.Webhook, r.request.Exporter, r.request.Relay)
	return append(lines, changed...), err
}

func registrationLines(configuration *admissionv1.MutatingWebhookConfiguration, renew string, now time.Time) ([]Line, error) {
	if len(configuration.Webhooks) == 0 {
		return []Line{fail(installHint, "MutatingWebhookConfiguration %s has no webhook: no VM gets a sidecar", configuration.Name).see(pageInstall)}, nil
	}
	var lines []Line
	for i := range configuration.Webhooks {
		webhook := &configuration.Webhooks[i]
		lines = append(lines, bundleLine(webhook, renew, now))
		if policy := webhook.FailurePolicy; policy == nil || *policy != admissionv1.Ignore {
			lines = append(lines, warn(installHint+": they set Ignore", "failurePolicy of %s is not Ignore: while the webhook is down, no VM starts", webhook.Name).see(pageFailures))
		}
	}
	return lines, nil
}

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

// policy checks the policy with which the API server injects without a webhook.
func (r *run) policy() ([]Line, error) {
	if !r.byPolicy {
		return nil, nil
	}
	binding, err := cluster.Get(r.ctx, r.reader.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Get, cluster.Configuration)
	if err != nil && !absent(err) {
		return nil, err
	}
	return policyLines(r.place.Policy, binding != nil && binding.Spec.PolicyName == r.place.Policy.Name), nil
}

func policyLines(policy *admissionv1.MutatingAdmissionPolicy, bound bool) []Line {
	lines := []Line{ok("MutatingAdmissionPolicy %s exists: the API server injects, without a webhook", policy.Name)}
	if !bound {
		lines = append(lines, fail(installHint, "MutatingAdmissionPolicy %s has no binding of its name: no VM gets a sidecar", policy.Name))
	}
	if failure := policy.Spec.FailurePolicy; failure == nil || *failure != admissionv1.Ignore {
		lines = append(lines, warn(installHint+": they set Ignore", "failurePolicy of %s is not Ignore: if an expression of it fails, no VM starts", policy.Name))
	}
	return lines
}

// policyImage returns the image that the policy injects, a text constant of its first variables; empty if it is not one.
func policyImage(policy *admissionv1.MutatingAdmissionPolicy) string {
	at := slices.IndexFunc(policy.Spec.Variables, func(v admissionv1.Variable) bool { return v.Name == "image" })
	if at < 0 {
		return ""
	}
	expression := policy.Spec.Variables[at].Expression
	image := strings.Trim(expression, "'")
	if expression != "'"+image+"'" {
		return ""
	}
	return image
}

// replicas checks the webhook's Deployment.
func (r *run) replicas() ([]Line, error) {
	deployment := r.parts.webhook.object
	if r.parts.webhook.err != nil {
		return nil, r.parts.webhook.err
	}
	if deployment == nil {
		return []Line{fail(installHint, "Deployment %s is not in the namespace %s", cluster.Webhook, r.request.Exporter).see(pageInstall)}, nil
	}
	line := replicaLine(deployment)
	if line.Level != OK {
		pods, err := r.reader.Pods(r.ctx, r.request.Exporter, cluster.WebhookSelector)
		if err != nil {
			return []Line{line, unread("pods of the webhook", err)}, nil
		}
		if why := stuck(pods); why != "" {
			line.Text += ": " + why
		}
	}
	return append([]Line{line}, refusedDeployment(deployment)...), nil
}

func replicaLine(deployment *appsv1.Deployment) Line {
	want := int32(1)
	if deployment.Spec.Replicas != nil {
		want = *deployment.Spec.Replicas
	}
	ready, updated := deployment.Status.ReadyReplicas, deployment.Status.UpdatedReplicas
	hint := "kubectl -n " + deployment.Namespace + " get pods -l " + cluster.WebhookSelector
	switch {
	case want == 0:
		return fail("kubectl -n "+deployment.Namespace+" scale deployment "+cluster.Webhook+" --replicas=2",
			"Deployment %s is scaled to 0: VMs start without a sidecar", cluster.Webhook)
	case ready == 0:
		return fail(hint, "0 of %d replicas of the webhook are ready: VMs start without a sidecar", want)
	case ready < want:
		return warn(hint, "%d of %d replicas of the webhook are ready", ready, want)
	case updated < want:
		return warn(hint, "%d of %d replicas of the webhook have the newest configuration", updated, want)
	default:
		return ok("%d of %d replicas of the webhook are ready", ready, want)
	}
}

func (r *run) addresses() ([]Line, error) {
	ready, err := r.reader.ReadyAddresses(r.ctx, r.request.Exporter)
	switch {
	case err != nil:
		return nil, err
	case ready == 0:
		return []Line{fail("kubectl -n "+r.request.Exporter+" get endpointslices",
			"Service %s has no ready address: the API server cannot reach the webhook", cluster.Webhook)}, nil
	default:
		return []Line{ok("Service %s has ready addresses: %d", cluster.Webhook, ready)}, nil
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

// stuck returns why a container of the pods does not run; empty if the kubelet reports nothing.
func stuck(pods []corev1.Pod) string {
	for i := range pods {
		for _, status := range pods[i].Status.ContainerStatuses {
			waiting := status.State.Waiting
			if waiting == nil || waiting.Reason == "ContainerCreating" {
				continue
			}
			why := waiting.Reason
			if ended := status.LastTerminationState.Terminated; ended != nil && ended.Message != "" {
				why += ": " + strings.TrimSpace(ended.Message)
			} else if waiting.Message != "" {
				why += ": " + waiting.Message
			}
			return vm.Brief(pods[i].Name + ": " + why)
		}
	}
	return ""
}

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

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

const (
	// soon is when a certificate that expires is a warning: the certificates are renewed 10 days (serving) and 30 days (CA)
	// before they expire, so the renewal fails and there is a week to fix it.
	soon              = 7 * 24 * time.Hour
	certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"
	installHint       = "kubectl apply -k manifests"
	policyHint        = "kubectl apply -k manifests/overlays/admission-policy"
	certificateHint   = "kubectl -n hypervisor-exporter logs deploy/hypervisor-exporter-certs: check why it does not renew (or check cert-manager's Certificate)"
)

// registration checks the webhook's registration at the API server.
func (r *run) registration() ([]Line, error) {
	configuration, err := cluster.Get(r.ctx, r.reader.AdmissionregistrationV1().MutatingWebhookConfigurations().Get, cluster.Configuration)
	if absent(err) {
		if _, err := r.readPolicy(); !absent(err) {
			r.noWebhook = true
			return nil, nil
		}
		return []Line{fail(installHint, "MutatingWebhookConfiguration %s does not exist: no VM gets a sidecar", cluster.Configuration)}, nil
	}
	if err != nil {
		return nil, err
	}
	return registrationLines(configuration, r.request.Now), nil
}

func registrationLines(configuration *admissionv1.MutatingWebhookConfiguration, now time.Time) []Line {
	if len(configuration.Webhooks) == 0 {
		return []Line{fail(installHint, "MutatingWebhookConfiguration %s has no webhook", configuration.Name)}
	}
	lines := []Line{ok("MutatingWebhookConfiguration %s exists", configuration.Name)}
	for i := range configuration.Webhooks {
		webhook := &configuration.Webhooks[i]
		lines = append(lines, bundleLine(webhook, now))
		if policy := webhook.FailurePolicy; policy == nil || *policy != admissionv1.Ignore {
			lines = append(lines, warn(installHint+": sets it to Ignore", "failurePolicy of %s is not Ignore: while the webhook is down, no VM starts", webhook.Name))
		}
	}
	return lines
}

func bundleLine(webhook *admissionv1.MutatingWebhook, now time.Time) Line {
	what := "caBundle of " + webhook.Name
	if len(webhook.ClientConfig.CABundle) == 0 {
		return fail(certificateHint, "%s is empty: the API server cannot call the webhook, and VMs start without a sidecar", what)
	}
	end, err := lastCAEnds(webhook.ClientConfig.CABundle)
	if err != nil {
		return fail(certificateHint, "%s: %s", what, err)
	}
	return endLine(what, end, now)
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

func endLine(what string, end, now time.Time) Line {
	day := end.UTC().Format(time.DateOnly)
	switch {
	case !end.After(now):
		return fail(certificateHint, "%s: expired on %s", what, day)
	case end.Sub(now) < soon:
		return warn(certificateHint, "%s: expires on %s and was not renewed in time", what, day)
	default:
		return ok("%s: valid until %s", what, day)
	}
}

// policy checks the policy with which the API server injects without a webhook.
func (r *run) policy() ([]Line, error) {
	if !r.noWebhook {
		return nil, nil
	}
	policy, err := r.readPolicy()
	if err != nil {
		return nil, err
	}
	binding, err := cluster.Get(r.ctx, r.reader.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Get, cluster.Configuration)
	if err != nil && !absent(err) {
		return nil, err
	}
	r.config.Image, r.configRead, r.byPolicy = policyImage(policy), true, true
	return policyLines(policy, binding != nil && binding.Spec.PolicyName == policy.Name), nil
}

func (r *run) readPolicy() (*admissionv1.MutatingAdmissionPolicy, error) {
	return cluster.Get(r.ctx, r.reader.AdmissionregistrationV1().MutatingAdmissionPolicies().Get, cluster.Configuration)
}

func policyLines(policy *admissionv1.MutatingAdmissionPolicy, bound bool) []Line {
	lines := []Line{ok("MutatingAdmissionPolicy %s exists: the API server injects, without a webhook", policy.Name)}
	if !bound {
		lines = append(lines, fail(policyHint, "MutatingAdmissionPolicy %s has no binding of its name: no VM gets a sidecar", policy.Name))
	}
	if failure := policy.Spec.FailurePolicy; failure == nil || *failure != admissionv1.Ignore {
		lines = append(lines, warn(policyHint+": sets it to Ignore", "failurePolicy of %s is not Ignore: if an expression of it fails, no VM starts", policy.Name))
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

// replicas checks the webhook's Deployment, and reads the webhook's configuration from it.
func (r *run) replicas() ([]Line, error) {
	deployment, err := cluster.Get(r.ctx, r.reader.AppsV1().Deployments(r.request.Exporter).Get, cluster.Webhook)
	if absent(err) {
		return []Line{fail(installHint, "Deployment %s is not in the namespace %s", cluster.Webhook, r.request.Exporter)}, nil
	}
	if err != nil {
		return nil, err
	}
	lines := append([]Line{replicaLine(deployment)}, refusedDeployment(deployment)...)
	config, err := cluster.ConfigOf(deployment)
	if err != nil {
		return append(lines, warn(installHint, "%s", err)), nil
	}
	r.config, r.configRead = config, true
	ours := &deployment.Spec.Template.Spec
	lines = append(lines, imageLine(config.Image, pulled(ours), "the webhook's pods")...)
	return append(lines, secretLine(r.version, ours.ImagePullSecrets, config)...), nil
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
		return fail(hint, "0 of %d replicas are ready: VMs start without a sidecar", want)
	case ready < want:
		return warn(hint, "%d of %d replicas are ready", ready, want)
	case updated < want:
		return warn(hint, "%d of %d replicas have the newest configuration", updated, want)
	default:
		return ok("%d of %d replicas are ready", ready, want)
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
		lines = append(lines, servingLine(pods[i].Name, page, r.request.Now))
	}
	return lines, nil
}

func servingLine(pod string, page []byte, now time.Time) Line {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return fail("check the pod's log", "pod %s: metrics cannot be read: %s", pod, err)
	}
	for _, metric := range families[certificateMetric].GetMetric() {
		end := time.Unix(int64(metric.GetGauge().GetValue()), 0)
		return endLine("certificate of pod "+pod, end, now)
	}
	return fail(certificateHint, "pod %s serves no certificate", pod)
}

// certificateProcess checks the Deployment of the certificate process, if there is one: not with cert-manager, nor with a
// policy without a relay.
func (r *run) certificateProcess() ([]Line, error) {
	deployment, err := cluster.Get(r.ctx, r.reader.AppsV1().Deployments(r.request.Exporter).Get, cluster.Certs)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return refusedDeployment(deployment), nil
}

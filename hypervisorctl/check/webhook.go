package check

import (
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

const installHint = "apply the manifests or the chart again"

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
		r.silent = true
		return []Line{fail("kubectl -n "+r.request.Exporter+" get endpointslices",
			"Service %s has no ready address: the API server cannot reach the webhook", cluster.Webhook)}, nil
	default:
		return []Line{ok("Service %s has ready addresses: %d", cluster.Webhook, ready)}, nil
	}
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

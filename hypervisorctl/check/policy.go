package check

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

const policySection section = "admission policy"

// What to do if the policy is wrong, and if a dry run has no sidecar, which the webhook or the policy should add.
const (
	policyHint        = "kubectl apply -k manifests/overlays/admission-policy"
	webhookSilentHint = "the API server did not reach the webhook in time or does not trust it: check its metric apiserver_admission_webhook_fail_open_count, and firewalls between it and port 8443 of the webhook's pods"
	policySilentHint  = "a new policy works after some seconds; if this stays, an expression of it fails: check the API server's metric apiserver_mutating_admission_policy_check_total"
)

// policyLines judges the policy with which the API server injects without a webhook; bound says whether it has a binding.
func policyLines(policy *admissionv1.MutatingAdmissionPolicy, bound bool) []Line {
	const s = policySection
	lines := []Line{s.ok("MutatingAdmissionPolicy %s exists: the API server injects, without a webhook", policy.Name)}
	if !bound {
		lines = append(lines, s.fail(policyHint, "MutatingAdmissionPolicy %s has no binding of its name: no VM gets a sidecar", policy.Name))
	}
	if failure := policy.Spec.FailurePolicy; failure == nil || *failure != admissionv1.Ignore {
		lines = append(lines, s.warn("set it back to Ignore: "+policyHint,
			"failurePolicy of %s is not Ignore: if an expression of it fails, no VM starts", policy.Name))
	}
	return lines
}

// policyImage is the image that the policy injects, a text constant of its first variables; empty if it is not constant.
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

// policy checks for the policy if there is no webhook, and says whether there is one, or may be.
func (r *run) policy() bool {
	const s = policySection
	policy, err := r.reader.Policy(r.ctx)
	switch {
	case absent(err):
		return false
	case err != nil:
		r.add(s.unread("MutatingAdmissionPolicy "+product.Configuration, err))
		return true
	}
	bound, err := r.reader.PolicyBound(r.ctx)
	if err != nil {
		r.add(s.unread("MutatingAdmissionPolicyBinding "+product.Configuration, err))
		return true
	}
	r.add(policyLines(policy, bound)...)
	r.config.Image, r.read, r.byPolicy = policyImage(policy), true, true
	r.silentHint = policySilentHint
	return true
}

package admission

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Decider is inject.Decide with its configuration.
type Decider func(*corev1.Pod) inject.Decision

// outcome is what became of one review: a decision or a problem.
type outcome struct {
	decision inject.Decision
	problem  *problem
	// from the request, for the log
	namespace, name string
	dryRun          bool
}

type problem struct {
	kind  Problem
	err   error
	stack []byte
}

func failed(kind Problem, err error) outcome { return outcome{problem: &problem{kind: kind, err: err}} }

// answerTo gives the response bytes to a review. Only NotAReview gives none:
// without a uid there is nothing that an API server would take for an answer
// (VerifyAdmissionResponse in k8s.io/apiserver). Everything else is allowed.
//
// Other versions than v1 are answered in their own version, allowed and
// without a patch. An API server sends v1beta1 only if the webhook
// configuration lists it, which ours does not; should somebody list it, an
// error (or an answer in v1, which the API server refuses) would deny pods as
// soon as failurePolicy is Fail. The few fields used are the same in v1beta1.
func answerTo(body []byte, decide Decider) ([]byte, outcome) {
	review := admissionv1.AdmissionReview{}
	// A field of an unexpected type is an error, but the rest is read on: the
	// uid is mostly there, and with it a way to answer.
	err := kjson.UnmarshalCaseSensitivePreserveInts(body, &review)
	if review.Request == nil || review.Request.UID == "" {
		return nil, failed(NotAReview, err)
	}
	result := outcome{}
	if err != nil && isV1(review.TypeMeta) {
		result = failed(UnreadableReview, err)
	} else {
		result = consider(review.TypeMeta, review.Request, decide)
	}
	result.namespace = review.Request.Namespace
	result.dryRun = review.Request.DryRun != nil && *review.Request.DryRun
	if result.name == "" {
		result.name = review.Request.Name
	}
	answer, err := respond(review, result)
	if err != nil {
		result = failed(UnencodablePatch, err)
		// Without the patch there is nothing left in it that could fail.
		answer, _ = respond(review, result)
	}
	return answer, result
}

// consider looks at what is asked and, if it is ours to answer, decides.
// A panic in it costs this pod its sidecar and nobody anything else.
func consider(version metav1.TypeMeta, request *admissionv1.AdmissionRequest, decide Decider) (result outcome) {
	defer func() {
		if r := recover(); r != nil {
			result = outcome{problem: &problem{Panicked, fmt.Errorf("panic: %v", r), debug.Stack()}}
		}
	}()
	if !isV1(version) {
		return failed(UnknownVersion, fmt.Errorf("%.64q of version %.64q", version.Kind, version.APIVersion))
	}
	// An update must never be patched: init containers cannot be changed, the
	// API server would reject the pod.
	if request.Kind != (metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}) || request.SubResource != "" || request.Operation != admissionv1.Create {
		return failed(NotAPodCreation, fmt.Errorf("%.64q of %.64q, subresource %.64q", request.Operation, request.Kind.String(), request.SubResource))
	}
	pod, err := inject.ParsePod(request.Object.Raw)
	if err != nil {
		return failed(UnreadablePod, err)
	}
	result.decision = decide(pod)
	result.name = pod.Name
	if result.name == "" {
		result.name = pod.GenerateName
	}
	return result
}

func isV1(t metav1.TypeMeta) bool {
	return t.APIVersion == admissionv1.SchemeGroupVersion.String() && t.Kind == "AdmissionReview"
}

func respond(review admissionv1.AdmissionReview, result outcome) ([]byte, error) {
	response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	switch {
	case result.problem != nil:
		response.Warnings = []string{"hypervisor-exporter: " + result.problem.kind.Sentence()}
	case result.decision.Injected():
		patch, err := json.Marshal(result.decision.Patch)
		if err != nil {
			return nil, fmt.Errorf("encode patch: %w", err)
		}
		jsonPatch := admissionv1.PatchTypeJSONPatch
		response.Patch, response.PatchType = patch, &jsonPatch
		response.Warnings = result.decision.Warnings
	default:
		response.Warnings = result.decision.Warnings
	}
	return json.Marshal(admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: response})
}

// log writes one line: at debug for a decision, at warn for a problem.
func (o outcome) log(logger *slog.Logger) {
	if o.problem == nil {
		logger.Debug("admission", "reason", o.decision.Reason, "namespace", o.namespace,
			"pod", o.name, "dry_run", o.dryRun, "warnings", o.decision.Warnings)
		return
	}
	attrs := []any{"reason", o.problem.kind, "namespace", o.namespace, "pod", o.name, "err", o.problem.err}
	if o.problem.stack != nil {
		attrs = append(attrs, "stack", string(o.problem.stack))
	}
	logger.Warn("admission went wrong: "+o.problem.kind.Sentence(), attrs...)
}

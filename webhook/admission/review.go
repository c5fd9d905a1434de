package admission

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime/debug"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// admissionReview is the part of an AdmissionReview that is read.
type admissionReview struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Request    *admissionRequest `json:"request"`
}

type admissionRequest struct {
	UID         types.UID               `json:"uid"`
	Kind        metav1.GroupVersionKind `json:"kind"`
	SubResource string                  `json:"subResource"`
	Name        string                  `json:"name"`
	Namespace   string                  `json:"namespace"`
	Operation   admissionv1.Operation   `json:"operation"`
	DryRun      *bool                   `json:"dryRun"`
	Object      rawObject               `json:"object"`
}

func (r *admissionRequest) isDryRun() bool { return r.DryRun != nil && *r.DryRun }

// rawObject is an object's JSON. It is a part of the body, not a copy, which could be
// megabytes: the body stays unchanged until the review is answered.
type rawObject []byte

// UnmarshalJSON reads null as nothing, as runtime.RawExtension does.
func (o *rawObject) UnmarshalJSON(text []byte) error {
	if *o = text; string(text) == "null" {
		*o = nil
	}
	return nil
}

// answerable reports whether there is a uid that can be sent back, as an API server requires
// (VerifyAdmissionResponse in k8s.io/apiserver). What is sent back must be short.
func (r *admissionReview) answerable() bool {
	const longest = 128 // bytes; a uid has 36
	return r.Request != nil && r.Request.UID != "" &&
		len(r.Request.UID) <= longest && len(r.APIVersion) <= longest && len(r.Kind) <= longest
}

func (r *admissionReview) isV1() bool {
	return r.APIVersion == admissionv1.SchemeGroupVersion.String() && r.Kind == "AdmissionReview"
}

// answerTo returns the response to a review as bytes, or none for NotAReview. Everything else is
// allowed.
//
// Versions other than v1 are answered in their own version, allowed and without a patch. An API
// server sends v1beta1 only if the webhook configuration lists it, which ours does not. If
// someone adds it, an error (or an answer in v1, which the API server refuses) would deny pods
// as soon as failurePolicy is Fail. The few fields used are the same in v1beta1.
//
// The body is in use until answerTo returns.
func answerTo(body []byte, judge judge) ([]byte, outcome) {
	asked := &admissionReview{}
	// A field of an unexpected type is an error, but the rest is read as well: usually there is a
	// uid, so the review can be answered.
	err := kjson.UnmarshalCaseSensitivePreserveInts(body, asked)
	if !asked.answerable() {
		return nil, failed(NotAReview, err)
	}
	result := outcome{}
	if err != nil && asked.isV1() {
		result = failed(UnreadableReview, err)
	} else {
		result = consider(asked, judge)
	}
	result.about(asked.Request)
	answer, err := respond(asked, result)
	if err != nil {
		result.problem = &problem{kind: UnencodablePatch, err: err}
		// Without the patch nothing is left that could fail.
		answer, _ = respond(asked, result)
	}
	return answer, result
}

// consider decides about the pod in the review, if the review is about the creation of a pod. A
// panic in it costs this pod its sidecar, and has no other effect.
func consider(asked *admissionReview, judge judge) (result outcome) {
	defer func() {
		if r := recover(); r != nil {
			result = outcome{problem: &problem{Panicked, fmt.Errorf("panic: %v", r), debug.Stack()}}
		}
	}()
	request := asked.Request
	if !asked.isV1() {
		return failed(UnknownVersion, fmt.Errorf("%q of version %q", asked.Kind, asked.APIVersion))
	}
	// An update must never be patched: init containers cannot be changed, so the API server would
	// reject the pod.
	if request.Kind != (metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}) || request.SubResource != "" || request.Operation != admissionv1.Create {
		return failed(NotAPodCreation, fmt.Errorf("%.64q of %.64q, subresource %.64q", request.Operation, request.Kind.String(), request.SubResource))
	}
	pod, err := inject.ParsePod(request.Object)
	if err != nil {
		return failed(UnreadablePod, err)
	}
	result.decision, result.refused = judge(request, pod)
	result.name = cmp.Or(pod.Name, pod.GenerateName)
	return result
}

func respond(asked *admissionReview, result outcome) ([]byte, error) {
	response := &admissionv1.AdmissionResponse{UID: asked.Request.UID, Allowed: true}
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
	version := metav1.TypeMeta{APIVersion: asked.APIVersion, Kind: asked.Kind}
	return json.Marshal(admissionv1.AdmissionReview{TypeMeta: version, Response: response})
}

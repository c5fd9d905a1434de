package admission

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// FuzzReviewReadsAsAPIMachinery: if the API server's type and ours both accept a review, they read the same.
func FuzzReviewReadsAsAPIMachinery(f *testing.F) {
	for _, pod := range fixtures(f) {
		f.Add(review(f, pod, nil))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var ours admissionReview
		var theirs admissionv1.AdmissionReview
		if kjson.UnmarshalCaseSensitivePreserveInts(body, &ours) != nil || kjson.UnmarshalCaseSensitivePreserveInts(body, &theirs) != nil {
			return
		}
		require.Equal(t, theirs.APIVersion, ours.APIVersion)
		require.Equal(t, theirs.Kind, ours.Kind)
		require.Equal(t, theirs.Request == nil, ours.Request == nil)
		if theirs.Request == nil {
			return
		}
		require.Equal(t, admissionRequest{
			UID: theirs.Request.UID, Kind: theirs.Request.Kind, SubResource: theirs.Request.SubResource, Name: theirs.Request.Name,
			Namespace: theirs.Request.Namespace, Operation: theirs.Request.Operation, DryRun: theirs.Request.DryRun, Object: theirs.Request.Object.Raw,
		}, *ours.Request)
	})
}

// FuzzReview: no body makes us deny, panic, or answer with a patch that does
// not apply to the pod in it.
func FuzzReview(f *testing.F) {
	for _, pod := range fixtures(f) {
		f.Add(review(f, pod, nil))
	}
	f.Add([]byte(`{"request":{"uid":"u"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := newBench(realDecision)
		w := b.post(body)
		require.Zero(t, b.errors(), b.log)
		if w.Code != http.StatusOK {
			require.InDelta(t, 1, b.problems(NotAReview)+b.problems(TooComplex), 0)
			return
		}
		got := response(t, w)
		if got.Response.Patch == nil {
			require.Nil(t, got.Response.PatchType)
			return
		}
		sent := admissionv1.AdmissionReview{}
		require.NoError(t, json.Unmarshal(body, &sent))
		var patch []inject.Operation
		require.NoError(t, json.Unmarshal(got.Response.Patch, &patch))
		_, err := inject.Apply(sent.Request.Object.Raw, patch)
		require.NoError(t, err)
	})
}

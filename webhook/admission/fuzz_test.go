package admission

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

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
		require.Zero(t, b.counted("error", Panicked.String()), b.log)
		if w.Code != http.StatusOK {
			require.Equal(t, http.StatusBadRequest, w.Code)
			require.InDelta(t, 1, b.counted("error", NotAReview.String()), 0)
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

package admission

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// creation returns the review of the launcher pod's creation after the changes.
func creation(t *testing.T, pod func(*unstructured.Unstructured), request func(*admissionv1.AdmissionRequest)) []byte {
	t.Helper()
	object := &unstructured.Unstructured{}
	require.NoError(t, object.UnmarshalJSON(virtLauncher(t)))
	if pod != nil {
		pod(object)
	}
	encoded, err := json.Marshal(object)
	require.NoError(t, err)
	return review(t, encoded, func(r *admissionv1.AdmissionReview) {
		r.Request.UID = uuid.NewUUID() // each review has its own
		if request != nil {
			request(r.Request)
		}
	})
}

func ownedBy(uid types.UID) func(*unstructured.Unstructured) {
	return func(pod *unstructured.Unstructured) {
		owners := pod.GetOwnerReferences()
		owners[0].UID = uid
		pod.SetOwnerReferences(owners)
	}
}

// refusePods posts what KubeVirt creates as if each were refused, until the webhook leaves the pod alone.
func refusePods(t *testing.T, b *bench) {
	t.Helper()
	for _, pause := range []time.Duration{0, 5 * time.Millisecond, time.Second} {
		time.Sleep(pause)
		b.post(creation(t, nil, nil))
	}
	require.Equal(t, 2.0, b.counted(resultInjected, inject.Injected.String()))
	require.Equal(t, 1.0, b.counted(resultSkipped, inject.RefusedBefore.String()))
}

func TestPodThatIsRefusedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(realDecision)
		refusePods(t, b)
		answer := response(t, b.post(creation(t, nil, nil)))
		require.Nil(t, answer.Response.Patch)
		require.Equal(t, []string{"hypervisor-exporter: not injected: " + inject.RefusedBefore.Sentence()}, answer.Response.Warnings)
		require.LessOrEqual(t, len(answer.Response.Warnings[0]), 256, "the API server cuts it")
		require.Equal(t, 1, strings.Count(b.log.String(), `"level":"WARN"`), "one line, not one for each pod: %s", b.log)
		require.Contains(t, b.log.String(), `"namespace":"vms","vmi":"masq"`)
	})
}

// TestWhatIsNotARefusedPodIsInjected: other pods of the same VM, or of the same time, are injected.
func TestWhatIsNotARefusedPodIsInjected(t *testing.T) {
	migration := func(uid string) func(*unstructured.Unstructured) {
		return func(pod *unstructured.Unstructured) {
			labels := pod.GetLabels()
			labels["kubevirt.io/migrationJobUID"] = uid
			pod.SetLabels(labels)
		}
	}
	yes := true
	for name, body := range map[string]func(t *testing.T) []byte{
		"the VM made again":             func(t *testing.T) []byte { return creation(t, ownedBy("another"), nil) },
		"its migration":                 func(t *testing.T) []byte { return creation(t, migration("m1"), nil) },
		"a pod without the owner's uid": func(t *testing.T) []byte { return creation(t, ownedBy(""), nil) },
		"a namespace with the same uid": func(t *testing.T) []byte {
			return creation(t, nil, func(r *admissionv1.AdmissionRequest) { r.Namespace = "other" })
		},
		"a dry run": func(t *testing.T) []byte {
			return creation(t, nil, func(r *admissionv1.AdmissionRequest) { r.DryRun = &yes })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(realDecision)
				refusePods(t, b)
				require.NotNil(t, response(t, b.post(body(t))).Response.Patch)
			})
		})
	}
}

// TestWhatIsNotARefusalDoesNotCount: after a dry run, a pod that is already injected (a second review within a
// request) or one that would not be injected, the pod that is stored is injected.
func TestWhatIsNotARefusalDoesNotCount(t *testing.T) {
	yes := true
	injectedAlready := func(pod *unstructured.Unstructured) {
		list := []any{map[string]any{"name": inject.ContainerName}}
		_ = unstructured.SetNestedSlice(pod.Object, list, "spec", "initContainers")
	}
	optedOut := func(pod *unstructured.Unstructured) {
		pod.SetAnnotations(map[string]string{inject.AnnotationInject: "false"})
	}
	for name, body := range map[string]func(t *testing.T) []byte{
		"dry runs": func(t *testing.T) []byte {
			return creation(t, nil, func(r *admissionv1.AdmissionRequest) { r.DryRun = &yes })
		},
		"injected already": func(t *testing.T) []byte { return creation(t, injectedAlready, nil) },
		"opted out":        func(t *testing.T) []byte { return creation(t, optedOut, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(realDecision)
				for range 10 {
					b.post(body(t))
					time.Sleep(time.Second)
				}
				require.NotNil(t, response(t, b.post(creation(t, nil, nil))).Response.Patch)
				require.Zero(t, b.counted(resultSkipped, inject.RefusedBefore.String()))
			})
		})
	}
}

// TestRefusalsFillNoLog: anyone who invents refusals of new VMs cannot fill the log. The counter has them all.
func TestRefusalsFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(realDecision)
		const invented = 100
		uids := make([]types.UID, invented)
		for i := range uids {
			uids[i] = uuid.NewUUID()
		}
		for range 3 {
			for _, uid := range uids {
				b.post(creation(t, ownedBy(uid), nil))
			}
			time.Sleep(time.Second)
		}
		require.Equal(t, float64(invented), b.counted(resultSkipped, inject.RefusedBefore.String()))
		require.Equal(t, 20, strings.Count(b.log.String(), `"level":"WARN"`))
	})
}

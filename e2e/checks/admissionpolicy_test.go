package checks

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// With the overlay admission-policy the API server itself gives a VM its sidecar, the VM runs and is scraped; one with
// dedicated CPUs stays Guaranteed, one that opts out has none. No process of the webhook is there.
func TestAdmissionPolicy(t *testing.T) {
	w := connect(t)
	if !w.atLeast(t, "1.36") {
		t.Skip("the overlay wants Kubernetes 1.36, as docs/admission-policy.md says; this KubeVirt runs on an older one")
	}
	before := vm{namespace: labelled, name: "policy-before"}
	w.start(t, before)
	states, compute := w.watch(t, before), w.computeID(t, before)
	images := w.productImages(t)
	w.installPolicy(t, images)

	v := vm{namespace: labelled, name: "policy"}
	dedicated := vm{namespace: labelled, name: "policy-dedicated", dedicated: true}
	out := vm{namespace: labelled, name: "policy-opted-out", annotations: map[string]string{inject: "false"}, nowhere: true}
	w.create(t, dedicated)
	w.create(t, out)
	w.start(t, v)
	require.Equal(t, images.Sidecar, sidecarOf(t, w.pod(t, v)).Image)
	require.False(t, hasSidecar(w.pod(t, out)))
	eventually(t, patience, dedicated.name+" to run", func(ctx context.Context) error { return w.isIn(ctx, dedicated, "Running") })
	require.True(t, hasSidecar(w.pod(t, dedicated)))
	require.Equal(t, corev1.PodQOSGuaranteed, w.pod(t, dedicated).Status.QOSClass)
	for _, v := range []vm{v, dedicated, before} {
		w.awaitTarget(t, v, "up")
	}
	require.Equal(t, "kvm", w.awaitInfo(t, v).Metric["hypervisor_type"])
	w.requireAlive(t, before, compute)
	require.NotContains(t, states.states(), "pod ready=False")

	checked := w.reader(t, "ctl-policy", labelled).call(t, "check", "-n", labelled)
	require.Contains(t, checked.out, "MutatingAdmissionPolicy hypervisor-exporter exists")
	require.Contains(t, checked.out, "a virt-launcher pod in the namespace "+labelled+" gets the sidecar (dry run)")
	require.NotContains(t, checked.out, "fail  ")
}

// installPolicy puts the policy in the webhook's place, as docs/admission-policy.md has it, until the test ends. It
// returns once the API server goes by it.
func (w *world) installPolicy(t *testing.T, images cluster.ProductImages) {
	t.Helper()
	standard, err := cluster.ProductObjects(product(t), cluster.Default, images)
	require.NoError(t, err)
	policy, err := cluster.ProductObjects(product(t), cluster.Policy, images)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, w.Client.Delete(context.Background(), without(policy, standard)...))
		require.NoError(t, w.InstallProduct(context.Background(), standard))
	})
	require.NoError(t, w.Apply(t.Context(), policy...))
	require.NoError(t, w.Client.Delete(t.Context(), without(standard, policy)...))
	require.NoError(t, w.WaitDeployments(t.Context(), cluster.Product, "hypervisor-exporter-certs"))
	w.awaitWebhooks(t, 0)
	for i := 0; ; i++ {
		probe := vm{namespace: labelled, name: fmt.Sprintf("probe-%d", i), nowhere: true}
		w.create(t, probe)
		pod := w.pod(t, probe)
		w.removeNow(t, probe)
		if hasSidecar(pod) {
			return
		}
		require.Less(t, i, 30, "the API server goes by no policy")
	}
}

// without are the objects that are not among the others.
func without(objects, others []*unstructured.Unstructured) []*unstructured.Unstructured {
	identity := func(o *unstructured.Unstructured) string {
		return o.GroupVersionKind().GroupKind().String() + " " + o.GetNamespace() + "/" + o.GetName()
	}
	known := map[string]bool{}
	for _, other := range others {
		known[identity(other)] = true
	}
	var left []*unstructured.Unstructured
	for _, object := range objects {
		if !known[identity(object)] {
			left = append(left, object)
		}
	}
	return left
}

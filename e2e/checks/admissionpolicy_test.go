package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// With the overlay admission-policy the API server itself gives a VM its sidecar, and the VM runs and is scraped; one with
// dedicated CPUs stays Guaranteed, one that opts out has no sidecar. No process of the webhook is there.
func TestAdmissionPolicy(t *testing.T) {
	f := connect(t)
	f.needs("1.36") // docs/admission-policy.md
	before := vm{namespace: labelled, name: "policy-before"}
	f.start(before)
	requireUntouched := f.observe(before)
	image := f.installPolicy()

	v := vm{namespace: labelled, name: "policy"}
	dedicated := vm{namespace: labelled, name: "policy-dedicated", dedicated: true}
	out := vm{namespace: labelled, name: "policy-opted-out", annotations: map[string]string{inject: "false"}, node: nowhere}
	f.create(out)
	f.start(v, dedicated)
	require.Equal(t, image, f.sidecarOf(v).Image)
	require.False(t, hasSidecar(f.pod(out)))
	require.Equal(t, corev1.PodQOSGuaranteed, f.pod(dedicated).Status.QOSClass)
	for _, v := range []vm{v, dedicated, before} {
		f.requireMeasured(v, "kvm")
	}
	requireUntouched()

	checked := f.reader("ctl-policy", labelled).call(t, "check", "-n", labelled)
	require.Contains(t, checked.out, "MutatingAdmissionPolicy hypervisor-exporter exists")
	require.Contains(t, checked.out, "a virt-launcher pod in the namespace "+labelled+" gets the sidecar (dry run)")
	require.NotContains(t, checked.out, "fail  ")
}

// installPolicy replaces the webhook by the policy, as docs/admission-policy.md has it, until the check ends. It returns
// once the API server applies it.
func (f *framework) installPolicy() string {
	image := f.productImage()
	standard, policy := f.manifests(cluster.Default, image), f.manifests(cluster.Policy, image)
	f.restoreProduct(without(policy, standard)...)
	f.must(f.Apply(f.ctx, policy...))
	f.must(f.Client.Delete(f.ctx, without(standard, policy)...))
	f.must(f.WaitRollout(f.ctx, cluster.Product, "Deployment", certsProcess))
	f.awaitPods("webhook", 0)
	f.awaitNewPods(vm{namespace: labelled, name: "policy"}, "the API server to apply the policy", hasSidecar)
	return image
}

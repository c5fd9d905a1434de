package checks

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// rewriter plays an admission controller of the user's (Kyverno, a registry mirror's) that runs after ours: it puts our
// container first and takes its image from elsewhere. %[1]s is the namespace, %[2]s the image.
const rewriter = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  variables:
  - name: ours
    expression: "object.spec.?initContainers.orValue([]).filter(c, c.name == 'hypervisor-exporter')"
  - name: others
    expression: "object.spec.?initContainers.orValue([]).filter(c, c.name != 'hypervisor-exporter')"
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        variables.ours.size() == 0 ? [] : [
          JSONPatch{op: "replace", path: "/spec/initContainers", value: variables.ours + variables.others},
          JSONPatch{op: "replace", path: "/spec/initContainers/0/image", value: "%[2]s"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

// A sidecar that another admission controller has put before all other containers, under another image's name, starts
// there and holds nothing up; the VM runs, and is scraped.
func TestRewrittenByOthers(t *testing.T) {
	t.Parallel()
	w := connect(t)
	if !w.atLeast(t, "1.36") {
		t.Skip("MutatingAdmissionPolicy wants Kubernetes 1.36; this KubeVirt runs on an older one")
	}
	v := vm{namespace: "rewritten", name: "rewritten"}
	const image = "mirror.e2e.local/kubevirt-hypervisor-exporter/sidecar:mirrored"
	_, err := w.node.Run(t.Context(), "ctr", "-n", "k8s.io", "images", "tag", "--force", w.productImages(t).Sidecar, image)
	require.NoError(t, err)
	require.NoError(t, w.Namespace(t.Context(), v.namespace, map[string]string{inject: "enabled"}))
	w.impose(t, v.namespace, fmt.Sprintf(rewriter, v.namespace, image))
	w.awaitRewriter(t, v.namespace, image)

	without := vm{namespace: plain, name: "not-rewritten"}
	took := w.start(t, without)
	rewritten := w.start(t, v)
	t.Logf("the VM ran after %.1f s without a sidecar, after %.1f s with the one that was put first", took.Seconds(), rewritten.Seconds())
	pod := w.pod(t, v)
	require.Equal(t, sidecar, pod.Spec.InitContainers[0].Name)
	require.Greater(t, len(pod.Spec.InitContainers), 1, "it was put before another, KubeVirt's guest-console-log")
	require.Equal(t, image, pod.Spec.InitContainers[0].Image)
	w.awaitReady(t, v)
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
	w.awaitTarget(t, v, "up")
	require.Equal(t, "kvm", w.awaitInfo(t, v).Metric["hypervisor_type"])
}

// awaitRewriter waits until the API server goes by the policy.
func (w *world) awaitRewriter(t *testing.T, namespace, image string) {
	t.Helper()
	for i := 0; ; i++ {
		probe := vm{namespace: namespace, name: fmt.Sprintf("probe-%d", i), nowhere: true}
		w.create(t, probe)
		now := sidecarOf(t, w.pod(t, probe)).Image
		w.removeNow(t, probe)
		if now == image {
			return
		}
		require.Less(t, i, 30, "the API server goes by no policy: the image is %s", now)
	}
}

package checks

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// changedPods is a MutatingAdmissionPolicy for pods of a namespace, %[1]s, that have our container: %[2]s are its patches.
const changedPods = `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  reinvocationPolicy: IfNeeded
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  variables:
  - name: names
    expression: "object.spec.?initContainers.orValue([]).map(c, c.name)"
  - name: ours
    expression: "object.spec.?initContainers.orValue([]).filter(c, c.name == 'hypervisor-exporter')"
  - name: others
    expression: "object.spec.?initContainers.orValue([]).filter(c, c.name != 'hypervisor-exporter')"
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >-
        variables.ours.size() == 0 ? [] : [%[2]s]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`

// Another admission controller of the user's (Kyverno, a registry mirror's), which runs after ours, puts our container
// before all others and takes its image from elsewhere. It starts there and holds nothing up; the VM runs, and is scraped.
func TestRewrittenByOthers(t *testing.T) {
	t.Parallel()
	f := connect(t)
	f.needs("1.36") // MutatingAdmissionPolicy
	v := vm{namespace: "rewritten", name: "rewritten"}
	const image = "mirror.e2e.local/kubevirt-hypervisor-exporter:mirrored"
	f.run("ctr", "-n", "k8s.io", "images", "tag", "--force", f.productImage(), image)
	f.namespace(v.namespace)
	f.impose(changedPods, v.namespace, `
          JSONPatch{op: "replace", path: "/spec/initContainers", value: variables.ours + variables.others},
          JSONPatch{op: "replace", path: "/spec/initContainers/0/image", value: "`+image+`"}`)
	f.awaitNewPods(v, "the API server to apply the policy", func(pod *corev1.Pod) bool { return pod.Spec.InitContainers[0].Image == image })

	without := f.start(vm{namespace: plain, name: "not-rewritten"})
	t.Logf("the VM ran after %.1f s without a sidecar, after %.1f s with the one that was put first", without.Seconds(), f.start(v).Seconds())
	containers := f.pod(v).Spec.InitContainers
	require.Equal(t, sidecar, containers[0].Name)
	require.Greater(t, len(containers), 1, "it was put before another, KubeVirt's guest-console-log")
	require.Equal(t, image, containers[0].Image)
	f.requireMeasured(v, "kvm")
}

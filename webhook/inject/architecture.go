package inject

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// kubeVirtArchitectures are those that KubeVirt's own images are built for (1.6 to 1.9,
// hack/bazel-push-images.sh), as in the node label kubernetes.io/arch.
func kubeVirtArchitectures() []string { return []string{"amd64", "arm64", "s390x"} }

// knownArchitectures are what a kubelet may write in kubernetes.io/arch: Go's names (GOARCH) of
// Linux machines that Kubernetes is or was built for. No node has a name of another family, such
// as x86_64.
func knownArchitectures() []string {
	return []string{"386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"}
}

// runsOnlyOn reports whether every node that the scheduler may choose for the pod has one of the
// given architectures. It reads nodeSelector and required node affinity as the scheduler does
// (k8s.io/component-helpers/scheduling/corev1/nodeaffinity), as far as they are about
// kubernetes.io/arch; any other requirement may be met on any architecture.
//
// A pod that does not say which architecture it needs runs on one of KubeVirt's. KubeVirt sets
// the node selector from spec.architecture, which its webhook fills in (1.6 to 1.9,
// nodeselectorrenderer.go), unless the feature gate CrossArchitectureVirtualization is on (1.9).
// The pod then still requires kubevirt.io/schedulable=true, a label that virt-handler sets on its
// own node, so it can only run where KubeVirt's images run.
//
// The time that it takes grows with the pod's size alone.
func runsOnlyOn(architectures []string, pod *Pod) bool {
	// nil is any architecture.
	var selected map[string]bool
	if value, ok := pod.Spec.NodeSelector[corev1.LabelArchStable]; ok {
		selected = map[string]bool{value: true}
	}
	terms := []NodeSelectorTerm{{}}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.Required != nil {
		// A term without requirements matches no node.
		terms = slices.DeleteFunc(slices.Clone(a.NodeAffinity.Required.Terms), func(term NodeSelectorTerm) bool {
			return len(term.MatchExpressions)+len(term.MatchFields) == 0
		})
	}
	// The terms are alternatives.
	return !slices.ContainsFunc(terms, func(term NodeSelectorTerm) bool {
		for architecture := range allowed(selected, term.MatchExpressions) {
			if !slices.Contains(architectures, architecture) {
				return true
			}
		}
		return false
	})
}

// allowed returns the architectures among those selected that meet all of a term's requirements.
func allowed(selected map[string]bool, requirements []NodeSelectorRequirement) map[string]bool {
	left := maps.Clone(selected)
	of := func(operator corev1.NodeSelectorOperator, do func(values []string)) {
		for _, r := range requirements {
			if r.Key == corev1.LabelArchStable && r.Operator == string(operator) {
				do(r.Values)
			}
		}
	}
	// The requirements that name architectures come first.
	of(corev1.NodeSelectorOpIn, func(values []string) { left = intersection(left, values) })
	if left == nil {
		left = intersection(nil, kubeVirtArchitectures())
	}
	of(corev1.NodeSelectorOpNotIn, func(values []string) {
		for _, value := range values {
			delete(left, value)
		}
	})
	// Every kubelet writes the label.
	of(corev1.NodeSelectorOpDoesNotExist, func([]string) { clear(left) })
	return left
}

// intersection returns the values that are in the set; all of them if the set is nil.
func intersection(set map[string]bool, values []string) map[string]bool {
	both := make(map[string]bool, len(values))
	for _, value := range values {
		if set == nil || set[value] {
			both[value] = true
		}
	}
	return both
}

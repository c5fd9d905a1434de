package inject

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// kubeVirtArchitectures are those that KubeVirt's own images are built for (1.6 to 1.9, hack/bazel-push-images.sh), in
// the words of the node label kubernetes.io/arch.
func kubeVirtArchitectures() []string { return []string{"amd64", "arm64", "s390x"} }

// knownArchitectures are what a kubelet may write in kubernetes.io/arch: Go's names (GOARCH) of Linux machines that
// Kubernetes is or was built for. A name of another family, such as x86_64, is on no node.
func knownArchitectures() []string {
	return []string{"386", "amd64", "arm", "arm64", "loong64", "ppc64le", "riscv64", "s390x"}
}

// runsOnlyOn says whether every node that the scheduler may choose for the pod has one of the given architectures. It
// reads nodeSelector and required node affinity as the scheduler does
// (k8s.io/component-helpers/scheduling/corev1/nodeaffinity), as far as they speak of kubernetes.io/arch; any other
// requirement may be met on any architecture.
//
// Where a pod does not say which architecture it wants, it is one of KubeVirt's. KubeVirt sets the node selector from
// spec.architecture, which its webhook fills in (1.6 to 1.9, nodeselectorrenderer.go), unless the feature gate
// CrossArchitectureVirtualization is on (1.9). The pod then still demands kubevirt.io/schedulable=true, a label that
// virt-handler sets on its own node, so that it can land only where KubeVirt's images run.
//
// The time that it takes grows with the pod's size alone.
func runsOnlyOn(architectures []string, pod *Pod) bool {
	on := selected(pod.Spec.NodeSelector)
	required := requiredTerms(pod)
	if required == nil {
		return on.within(architectures)
	}
	return !slices.ContainsFunc(required.Terms, func(term NodeSelectorTerm) bool {
		if len(term.MatchExpressions)+len(term.MatchFields) == 0 {
			return false // it matches no node
		}
		return !on.narrowed(term.MatchExpressions).within(architectures)
	})
}

func requiredTerms(pod *Pod) *NodeSelector {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return pod.Spec.Affinity.NodeAffinity.Required
}

// possible is a set of architectures; a nil one holds whatever is not said.
type possible map[string]bool

func setOf(values []string) possible {
	set := make(possible, len(values))
	for _, value := range values {
		set[value] = true
	}
	return set
}

func selected(nodeSelector map[string]string) possible {
	if wanted, said := nodeSelector[corev1.LabelArchStable]; said {
		return possible{wanted: true}
	}
	return nil
}

// narrowed is what is left of the set after all requirements of one term. Those that name architectures come first.
func (p possible) narrowed(requirements []NodeSelectorRequirement) possible {
	left := maps.Clone(p)
	for _, r := range requirements {
		if r.Key == corev1.LabelArchStable && r.Operator == string(corev1.NodeSelectorOpIn) {
			left = left.only(r.Values)
		}
	}
	left = left.orKubeVirts()
	for _, r := range requirements {
		if r.Key != corev1.LabelArchStable {
			continue
		}
		switch corev1.NodeSelectorOperator(r.Operator) {
		case corev1.NodeSelectorOpNotIn:
			for _, value := range r.Values {
				delete(left, value)
			}
		case corev1.NodeSelectorOpDoesNotExist:
			clear(left) // every kubelet writes the label
		}
	}
	return left
}

func (p possible) only(values []string) possible {
	set := setOf(values)
	if p != nil {
		maps.DeleteFunc(set, func(value string, _ bool) bool { return !p[value] })
	}
	return set
}

func (p possible) orKubeVirts() possible {
	if p == nil {
		return setOf(kubeVirtArchitectures())
	}
	return p
}

func (p possible) within(architectures []string) bool {
	for architecture := range p.orKubeVirts() {
		if !slices.Contains(architectures, architecture) {
			return false
		}
	}
	return true
}

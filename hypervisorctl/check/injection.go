package check

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

const injectionSection section = "injection"

// exempt are the namespaces that the webhook is never asked about, whatever their labels
// (manifests/base/mutatingwebhookconfiguration.yaml).
func exempt(namespace string) bool {
	return slices.Contains([]string{"kube-system", product.Namespace, product.RelayNamespace}, namespace)
}

// namespaces are those of a cluster that bear the label.
type namespaces struct {
	enabled []string
	// misspelt have another value, which no selector knows.
	misspelt []string
	// all are those that there are, with and without the label.
	all map[string]bool
}

func (n *namespaces) add(name string, labels map[string]string) {
	n.all[name] = true
	switch value, labelled := labels[inject.AnnotationInject]; {
	case !labelled, value == "disabled", value == "false":
	case value == "enabled":
		n.enabled = append(n.enabled, name)
	default:
		n.misspelt = append(n.misspelt, fmt.Sprintf("%s (%s)", name, value))
	}
}

// is tells whether a namespace is among those that ask.
func (n *namespaces) is(name string) vm.Enabled {
	if slices.Contains(n.enabled, name) {
		return vm.EnabledYes
	}
	return vm.EnabledNo
}

func namespaceLines(found namespaces) []Line {
	const s = injectionSection
	slices.Sort(found.enabled)
	slices.Sort(found.misspelt)
	var lines []Line
	if len(found.enabled) == 0 {
		lines = append(lines, s.warn("kubectl label namespace NAMESPACE "+inject.AnnotationInject+"=enabled",
			"no namespace of %d asks for sidecars", len(found.all)))
	} else {
		line := s.ok("%d of %d namespaces ask for sidecars", len(found.enabled), len(found.all))
		line.Objects = found.enabled
		lines = append(lines, line)
	}
	if len(found.misspelt) > 0 {
		line := s.fail("the only value that counts is enabled", "the label %s has a value that means nothing", inject.AnnotationInject)
		line.Objects = found.misspelt
		lines = append(lines, line)
	}
	if outside := slices.DeleteFunc(slices.Clone(found.enabled), func(name string) bool { return !exempt(name) }); len(outside) > 0 {
		line := s.warn("run VMs in another namespace", "the webhook is not asked about these namespaces, whatever their labels")
		line.Objects = outside
		lines = append(lines, line)
	}
	return lines
}

// dryRunIn is the namespace to try an injection in: the one that was asked for, or the first that is enabled.
func dryRunIn(wanted string, enabled []string) string {
	if wanted != "" {
		return wanted
	}
	for _, name := range slices.Sorted(slices.Values(enabled)) {
		if !exempt(name) {
			return name
		}
	}
	return ""
}

// admittedLine judges what became of the synthetic pod; the hint is for one that got no sidecar.
func admittedLine(namespace string, pod *corev1.Pod, want inject.Config, silentHint string) Line {
	const s = injectionSection
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	if at < 0 {
		return s.fail(silentHint, "a virt-launcher pod in the namespace %s does not get the sidecar (dry run)", namespace)
	}
	if image := pod.Spec.InitContainers[at].Image; want.Image != "" && image != want.Image {
		return s.warn("a roll-out may be under way: try again", "a virt-launcher pod in the namespace %s gets the sidecar %s, and not %s (dry run)", namespace, image, want.Image)
	}
	return s.ok("a virt-launcher pod in the namespace %s gets the sidecar (dry run)", namespace)
}

// refusedLine is for a pod that was not admitted at all.
func refusedLine(namespace string, err error) Line {
	const s = injectionSection
	hint := "a quota, a policy or another webhook of the cluster stands before a VM as well"
	if strings.Contains(err.Error(), "does not support dry run") {
		hint = "another webhook does not take dry runs; start a VM and look at its pod instead"
	}
	return s.warn(hint, "the namespace %s does not admit a virt-launcher pod (dry run): %s", namespace, err)
}

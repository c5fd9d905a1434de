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

// exempt says whether the API server never asks the webhook about the namespace, whatever its labels
// (manifests/base/mutatingwebhookconfiguration.yaml).
func exempt(namespace string) bool {
	return slices.Contains([]string{"kube-system", product.Namespace, product.RelayNamespace}, namespace)
}

// namespaces are the cluster's.
type namespaces struct {
	enabled []string // with the label
	// misspelt have a value of the label that has no meaning.
	misspelt []string
	// all are those that exist, with and without the label.
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

// injected says whether VMs of the namespace get sidecars.
func (n *namespaces) injected(name string) bool { return n.is(name) == vm.EnabledYes && !exempt(name) }

// is says whether a namespace is labelled for sidecars.
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
			"none of %d namespaces is labelled for sidecars", len(found.all)))
	} else {
		line := s.ok("%d of %d namespaces are labelled for sidecars", len(found.enabled), len(found.all))
		line.Objects = found.enabled
		lines = append(lines, line)
	}
	if len(found.misspelt) > 0 {
		line := s.fail("the only value that counts is enabled", "the label %s has a value without a meaning", inject.AnnotationInject)
		line.Objects = found.misspelt
		lines = append(lines, line)
	}
	if outside := slices.DeleteFunc(slices.Clone(found.enabled), func(name string) bool { return !exempt(name) }); len(outside) > 0 {
		line := s.warn("run VMs in another namespace", "the webhook never sees pods of these namespaces, whatever their labels")
		line.Objects = outside
		lines = append(lines, line)
	}
	return lines
}

// dryRunIn is the namespace to try the injection in: the wanted one, or the first that is enabled.
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

// admittedLine judges the synthetic pod as it was admitted; the hint is for one without a sidecar.
func admittedLine(namespace string, pod *corev1.Pod, want inject.Config, silentHint string) Line {
	const s = injectionSection
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	if at < 0 {
		return s.fail(silentHint, "a virt-launcher pod in the namespace %s does not get the sidecar (dry run)", namespace)
	}
	if image := pod.Spec.InitContainers[at].Image; want.Image != "" && image != want.Image {
		return s.warn("a rollout may be under way: try again", "a virt-launcher pod in the namespace %s gets the sidecar %s instead of %s (dry run)", namespace, image, want.Image)
	}
	return s.ok("a virt-launcher pod in the namespace %s gets the sidecar (dry run)", namespace)
}

// refusedLine is for a pod that was not admitted.
func refusedLine(namespace string, err error) Line {
	const s = injectionSection
	hint := "a quota, a policy or another webhook of the cluster may refuse VMs, too"
	if strings.Contains(err.Error(), "does not support dry run") {
		hint = "another webhook does not support dry runs; start a VM and check its pod instead"
	}
	return s.warn(hint, "the namespace %s does not admit a virt-launcher pod (dry run): %s", namespace, err)
}

package inject

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// TestNoLookupPanics calls everything that reads a pod on pods for which an earlier reason would end
// Decide: without compute, with names twice, with missing lists.
func TestNoLookupPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pod := brokenPod(t)
		for _, cfg := range []Config{Default("i:v1"), {Image: "i:v1", Exposure: Direct, Port: 9477, Memory: memoryBounds.least, PullSecrets: []string{"a"}}} {
			for _, entry := range reasons {
				if entry.applies != nil {
					entry.applies(cfg, pod)
				}
			}
			s, _ := sizeFor(cfg, pod)
			patchFor(cfg, pod, container(cfg, pod, s))
			explainRequest(pod, s)
			isGuaranteed(pod)
			pod.VM()
			if text := Explain(cfg, pod); !strings.HasPrefix(text, "pod ") {
				t.Fatal(text)
			}
		}
	})
}

// brokenPod has each part of a virt-launcher pod or not.
func brokenPod(t *rapid.T) *Pod {
	maybe := func(name string) bool { return rapid.Bool().Draw(t, name) }
	yes := true
	pod := &Pod{}
	if maybe("labels") {
		pod.Labels = map[string]string{labelKubeVirt: launcherLabelValue}
	}
	if maybe("owner") {
		pod.OwnerReferences = []OwnerReference{{}, {APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: "vm", Controller: &yes}}
	}
	for range rapid.IntRange(0, 3).Draw(t, "containers") {
		c := Container{Name: rapid.SampledFrom([]string{computeContainer, ContainerName, "other", ""}).Draw(t, "name")}
		if maybe("mounts") {
			c.VolumeMounts = []VolumeMount{{}, {Name: libvirtVolume}}
		}
		if maybe("requests") {
			c.Resources.Requests = &ResourceList{CPU: Quantity{Quantity: cpuBounds.most, Stated: true}}
		}
		if maybe("limits") {
			c.Resources.Limits = &ResourceList{}
		}
		if maybe("security") {
			c.SecurityContext = &SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{}}
		}
		list := &pod.Spec.Containers
		if maybe("init") {
			list = &pod.Spec.InitContainers
		}
		*list = append(*list, c)
	}
	if maybe("volumes") {
		pod.Spec.Volumes = slices.Repeat([]NamedObject{{Name: libvirtVolume}}, 2)
	}
	if maybe("pod resources") {
		pod.Spec.Resources = &Resources{}
	}
	if maybe("affinity") {
		pod.Spec.Affinity = &Affinity{}
		if maybe("node affinity") {
			pod.Spec.Affinity.NodeAffinity = &NodeAffinity{Required: rapid.SampledFrom([]*NodeSelector{nil, {}, {Terms: make([]NodeSelectorTerm, 2)}}).Draw(t, "required")}
		}
	}
	return pod
}

package vm

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// LauncherSelector is the label by which KubeVirt marks the pods that run VMs.
const LauncherSelector = "kubevirt.io=virt-launcher"

// deviceNamespace is KubeVirt's prefix of the devices that it gives to pods (device-manager, DeviceNamespace).
const deviceNamespace = "devices.kubevirt.io/"

// Launcher is a virt-launcher pod, cut down.
type Launcher struct {
	Namespace, Name, UID string
	// Owner is the UID of the VMI that the pod belongs to; empty where it belongs to none.
	Owner   string
	Node    string
	Phase   corev1.PodPhase
	Created time.Time
	Sidecar Sidecar
	// Decision is what the webhook would decide on the pod as it is, the sidecar included where it has one.
	Decision inject.Reason
	Options  LauncherOptions
}

// LauncherOptions are what KubeVirt's controller wrote into the pod when it made it. They stay as they were, whatever
// becomes of the KubeVirt object afterwards (KubeVirt 1.6 to 1.9, template.go and renderresources.go).
type LauncherOptions struct {
	// AllowEmulation is the flag --allow-emulation: useEmulation was on.
	AllowEmulation bool
	// AllowCrossArchitecture is the flag --allow-cross-arch-emulation.
	AllowCrossArchitecture bool
	// Hypervisor is the flag --hypervisor; empty before KubeVirt 1.8.
	Hypervisor string
	// Device says that the pod asks the kubelet for the hypervisor's device, without which there is none in it.
	Device bool
	// Hooks says that hook sidecars run in the pod, which may rewrite the domain.
	Hooks bool
}

// Device is the resource name of a hypervisor's device: KubeVirt names it kvm, and mshv for hyperv-direct.
func Device(hypervisor string) string {
	if hypervisor == "hyperv-direct" {
		return deviceNamespace + "mshv"
	}
	return deviceNamespace + "kvm"
}

// FromPod reads a virt-launcher pod. The configuration is the webhook's.
func FromPod(cfg inject.Config, pod *corev1.Pod) Launcher {
	launcher := Launcher{
		Namespace: pod.Namespace,
		Name:      pod.Name,
		UID:       string(pod.UID),
		Node:      pod.Spec.NodeName,
		Phase:     pod.Status.Phase,
		Created:   pod.CreationTimestamp.Time,
		Sidecar:   sidecarOf(pod),
		Decision:  inject.Decide(cfg, inject.FromCore(pod)).Reason,
		Options:   optionsOf(pod),
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "VirtualMachineInstance" {
		launcher.Owner = string(owner.UID)
	}
	return launcher
}

func optionsOf(pod *corev1.Pod) LauncherOptions {
	var options LauncherOptions
	for i := range pod.Spec.Containers {
		container := &pod.Spec.Containers[i]
		if strings.HasPrefix(container.Name, "hook-sidecar-") {
			options.Hooks = true
		}
		if container.Name != "compute" {
			continue
		}
		words := slices.Concat(container.Command, container.Args)
		options.AllowEmulation = slices.Contains(words, "--allow-emulation")
		options.AllowCrossArchitecture = slices.Contains(words, "--allow-cross-arch-emulation")
		if at := slices.Index(words, "--hypervisor"); at >= 0 && at+1 < len(words) {
			options.Hypervisor = words[at+1]
		}
		quantity, asked := container.Resources.Limits[corev1.ResourceName(Device(options.Hypervisor))]
		options.Device = asked && !quantity.IsZero()
	}
	return options
}

// Choose picks the pod that a VMI runs in, out of those that belong to it: the one on its node, since a migration has
// two; of several there, the newest. It returns false where there is none.
func Choose(vmi VMI, launchers []Launcher) (Launcher, bool) {
	var chosen Launcher
	found := false
	for _, launcher := range launchers {
		if launcher.Owner != vmi.UID || vmi.Node != "" && launcher.Node != vmi.Node {
			continue
		}
		if !found || launcher.Created.After(chosen.Created) {
			chosen, found = launcher, true
		}
	}
	return chosen, found
}

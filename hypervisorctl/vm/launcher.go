package vm

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// LauncherSelector selects the pods that run VMs. KubeVirt sets the label over the one of a VM's template.
const LauncherSelector = "kubevirt.io=virt-launcher"

// deviceNamespace is KubeVirt's prefix of the devices that it gives to pods (device-manager, DeviceNamespace).
const deviceNamespace = "devices.kubevirt.io/"

// Launcher is the part of a virt-launcher pod that is needed.
type Launcher struct {
	Namespace, Name, UID string
	// Owner is the UID of the VMI that controls the pod, by its ownerReference; empty if none does. Labels and annotations
	// do not count: the VM's owner writes them (KubeVirt template.go copies them from the VMI, over its own).
	Owner string
	// OwnerName is that VMI's name in the ownerReference.
	OwnerName string
	// Rivals are the names of other pods of the VMI that run on the same node (see Choose).
	Rivals  []string
	Node    string
	Phase   corev1.PodPhase
	Created time.Time
	Sidecar Sidecar
	// Decision is what the webhook would decide on a pod that has no sidecar.
	Decision inject.Reason
	Options  LauncherOptions
}

// LauncherOptions are what KubeVirt's controller wrote into the pod when it created it. A later change of the KubeVirt
// object does not change them (KubeVirt 1.6 to 1.9, template.go and renderresources.go).
type LauncherOptions struct {
	// AllowEmulation is the flag --allow-emulation: useEmulation was on.
	AllowEmulation bool
	// AllowCrossArchitecture is the flag --allow-cross-arch-emulation.
	AllowCrossArchitecture bool
	// Hypervisor is the flag --hypervisor; empty before KubeVirt 1.8.
	Hypervisor string
	// Device: the pod asks the kubelet for the hypervisor's device, without which there is none in it.
	Device bool
	// Hooks: hook sidecars run in the pod, which may rewrite the domain.
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
		Options:   optionsOf(pod),
	}
	if launcher.Sidecar.State == Absent {
		launcher.Decision = inject.Judge(cfg, inject.FromCore(pod))
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == contract.VMIKind && strings.HasPrefix(owner.APIVersion, "kubevirt.io/") {
		launcher.Owner, launcher.OwnerName = string(owner.UID), owner.Name
	}
	return launcher
}

func (l *Launcher) isOf(vmi VMI) bool {
	return l.Owner == vmi.UID && l.OwnerName == vmi.Name && l.Namespace == vmi.Namespace
}

func (l *Launcher) hasEnded() bool {
	return l.Phase == corev1.PodSucceeded || l.Phase == corev1.PodFailed
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

// Choose returns the pod that a VMI runs in, and nil if there is none. Like KubeVirt (controller.CurrentVMIPod) it takes
// the newest pod that the VMI controls on the VMI's node; unlike KubeVirt it prefers one that has not ended. KubeVirt
// never runs two pods of a VMI on one node, but anyone who may create pods can give one the VMI's ownerReference: where
// several run there, Rivals names the others, and nothing shows which of them is the VM's.
func Choose(vmi VMI, launchers []Launcher) *Launcher {
	var chosen *Launcher
	var running []string
	for i := range launchers {
		launcher := &launchers[i]
		if !launcher.isOf(vmi) || vmi.Node != "" && launcher.Node != vmi.Node ||
			len(vmi.ActivePods) > 0 && !slices.Contains(vmi.ActivePods, launcher.UID) {
			continue
		}
		if !launcher.hasEnded() {
			running = append(running, launcher.Name)
		}
		if chosen == nil || betterThan(launcher, chosen) {
			chosen = launcher
		}
	}
	slices.Sort(running)
	running = slices.Compact(running) // a list that was started again has pods twice
	if chosen == nil || len(running) < 2 {
		return chosen
	}
	found := *chosen
	found.Rivals = slices.DeleteFunc(running, func(name string) bool { return name == found.Name })
	return &found
}

func betterThan(a, b *Launcher) bool {
	if a.hasEnded() != b.hasEnded() {
		return b.hasEnded()
	}
	return a.Created.After(b.Created)
}

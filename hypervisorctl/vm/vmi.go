// Package vm reads a VMI and its virt-launcher pod and finds out why a VMI has no metric. It does no I/O.
package vm

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// TypeMeta is the type of what json and yaml print. It is not a resource of the cluster.
func TypeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: "hypervisorctl.hypervisor-exporter.kubevirt.io/v1", Kind: kind}
}

// Running is the phase in which a VMI has a hypervisor, and with it a metric.
const Running = "Running"

// VMI is the part of a VirtualMachineInstance that is needed. A field that the object does not have, or has in another
// form, is empty.
type VMI struct {
	Namespace, Name, UID string
	// Phase is KubeVirt's, such as Running.
	Phase string
	// Node is where it runs, as KubeVirt reports it.
	Node string
	// Architecture of the guest as Kubernetes writes it, such as amd64; empty if the VMI does not name one.
	Architecture string
	// Machine is the machine type that libvirt resolved.
	Machine string
	Created metav1.Time
	// ActivePods are the UIDs of the pods that KubeVirt counts as the VMI's (status.activePods); around a migration two.
	ActivePods []string
	// SoftwareEmulation and HardwareEmulation are KubeVirt's conditions on a guest of another architecture than its
	// node's: QEMU executes it in software (since 1.9), or KVM in hardware (VEP 172, planned).
	SoftwareEmulation, HardwareEmulation bool
	// Owner controls the VMI.
	Owner      Owner
	Migratable Migratable
	// NotMigratable is KubeVirt's reason, where Migratable is MigratableNo.
	NotMigratable string
	// Paused is KubeVirt's reason for a VMI that it shows as paused, such as PausedIOError; empty if it is not.
	Paused string
	// Unschedulable is why the scheduler finds no node for its pod; empty if it does.
	Unschedulable string
	// GuestOS is what the guest's agent calls its system; empty without an agent.
	GuestOS string
	// Outdated: its pod runs a virt-launcher of an earlier KubeVirt than the installed one (KubeVirt's label
	// kubevirt.io/outdatedLauncherImage).
	Outdated bool
}

// FromObject reads a VMI. It accepts any object and never fails: a VMI is shown with what is known about it.
func FromObject(object *unstructured.Unstructured) VMI {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(object.Object, path...)
		return value
	}
	pods, _, _ := unstructured.NestedStringMap(object.Object, "status", "activePods")
	vmi := VMI{
		Namespace:    object.GetNamespace(),
		Name:         object.GetName(),
		UID:          string(object.GetUID()),
		Phase:        text("status", "phase"),
		Node:         text("status", "nodeName"),
		Architecture: text("spec", "architecture"),
		Machine:      text("status", "machine", "type"),
		Created:      object.GetCreationTimestamp(),
		ActivePods:   slices.Sorted(maps.Keys(pods)),

		GuestOS: text("status", "guestOSInfo", "name"),
	}
	_, vmi.Outdated = object.GetLabels()["kubevirt.io/outdatedLauncherImage"]
	if owner := metav1.GetControllerOf(object); owner != nil && strings.HasPrefix(owner.APIVersion, "kubevirt.io/") {
		vmi.Owner = Owner{owner.Kind, owner.Name}
	}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, one := range conditions {
		if fields, ok := one.(map[string]any); ok {
			vmi.condition(fields)
		}
	}
	return vmi
}

// condition takes what is needed from one of the VMI's conditions.
func (v *VMI) condition(fields map[string]any) {
	text := func(key string) string {
		value, _ := fields[key].(string)
		return value
	}
	switch text("type") + "=" + text("status") {
	case "SoftwareEmulation=True":
		v.SoftwareEmulation = true
	case "HardwareEmulation=True":
		v.HardwareEmulation = true
	case "LiveMigratable=True":
		v.Migratable = MigratableYes
	case "LiveMigratable=False":
		v.Migratable, v.NotMigratable = MigratableNo, text("reason")
	case "Paused=True":
		v.Paused = text("reason")
	case "PodScheduled=False":
		v.Unschedulable = Brief(cmp.Or(text("message"), text("reason"), "no reason given"))
	}
}

// Key is the VMI's name in the cluster.
func (v VMI) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: v.Namespace, Name: v.Name}
}

// Package vm reads a VMI and its virt-launcher pod and finds out why a VMI has no metric. It does no I/O.
package vm

import (
	"maps"
	"slices"

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
}

// FromObject reads a VMI. It accepts any object and never fails: a VMI is shown with what is known about it.
func FromObject(object *unstructured.Unstructured) VMI {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(object.Object, path...)
		return value
	}
	pods, _, _ := unstructured.NestedStringMap(object.Object, "status", "activePods")
	return VMI{
		Namespace:    object.GetNamespace(),
		Name:         object.GetName(),
		UID:          string(object.GetUID()),
		Phase:        text("status", "phase"),
		Node:         text("status", "nodeName"),
		Architecture: text("spec", "architecture"),
		Machine:      text("status", "machine", "type"),
		Created:      object.GetCreationTimestamp(),
		ActivePods:   slices.Sorted(maps.Keys(pods)),

		SoftwareEmulation: isTrue(object, "SoftwareEmulation"),
		HardwareEmulation: isTrue(object, "HardwareEmulation"),
	}
}

// isTrue reports whether a condition of the VMI has the status True.
func isTrue(object *unstructured.Unstructured, condition string) bool {
	conditions, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
	return err == nil && slices.ContainsFunc(conditions, func(one any) bool {
		fields, ok := one.(map[string]any)
		return ok && fields["type"] == condition && fields["status"] == "True"
	})
}

// Key is the VMI's name in the cluster.
func (v VMI) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: v.Namespace, Name: v.Name}
}

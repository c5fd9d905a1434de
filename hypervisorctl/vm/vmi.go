// Package vm reads a VMI and its virt-launcher pod and finds out why a VMI has no metric. It does no I/O.
package vm

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

// Object is the part of a VirtualMachineInstance that is read, as the API server sends it: a tenth of its bytes.
type Object struct {
	metav1.TypeMeta
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Architecture string `json:"architecture"`
	} `json:"spec"`
	Status status `json:"status"`
}

// metadata is an object's, without what is long and not read.
type metadata struct {
	metav1.ObjectMeta
	Annotations   struct{}   `json:"annotations"`
	ManagedFields []struct{} `json:"managedFields"`
}

type status struct {
	Phase    string `json:"phase"`
	NodeName string `json:"nodeName"`
	Machine  struct {
		Type string `json:"type"`
	} `json:"machine"`
	ActivePods  map[string]string `json:"activePods"`
	GuestOSInfo struct {
		Name string `json:"name"`
	} `json:"guestOSInfo"`
	Conditions []condition `json:"conditions"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// DeepCopyObject makes it a runtime.Object, as client-go's pager wants; nobody changes one.
func (o *Object) DeepCopyObject() runtime.Object {
	same := *o
	return &same
}

// FromObject reads a VMI.
func FromObject(object *Object) VMI {
	meta, status := &object.Metadata, &object.Status
	vmi := VMI{
		Namespace:    meta.Namespace,
		Name:         meta.Name,
		UID:          string(meta.UID),
		Phase:        status.Phase,
		Node:         status.NodeName,
		Architecture: object.Spec.Architecture,
		Machine:      status.Machine.Type,
		Created:      meta.CreationTimestamp,
		ActivePods:   slices.Sorted(maps.Keys(status.ActivePods)),
		GuestOS:      status.GuestOSInfo.Name,
	}
	_, vmi.Outdated = meta.Labels["kubevirt.io/outdatedLauncherImage"]
	if owner := metav1.GetControllerOfNoCopy(meta); owner != nil && strings.HasPrefix(owner.APIVersion, "kubevirt.io/") {
		vmi.Owner = Owner{owner.Kind, owner.Name}
	}
	for i := range status.Conditions {
		vmi.condition(&status.Conditions[i])
	}
	return vmi
}

// condition takes what is needed from one of the VMI's conditions.
func (v *VMI) condition(c *condition) {
	switch c.Type + "=" + c.Status {
	case "SoftwareEmulation=True":
		v.SoftwareEmulation = true
	case "HardwareEmulation=True":
		v.HardwareEmulation = true
	case "LiveMigratable=True":
		v.Migratable = MigratableYes
	case "LiveMigratable=False":
		v.Migratable, v.NotMigratable = MigratableNo, c.Reason
	case "Paused=True":
		v.Paused = c.Reason
	case "PodScheduled=False":
		v.Unschedulable = Brief(cmp.Or(c.Message, c.Reason, "no reason given"))
	}
}

// Key is the VMI's name in the cluster.
func (v VMI) Key() types.NamespacedName {
	return types.NamespacedName{Namespace: v.Namespace, Name: v.Name}
}

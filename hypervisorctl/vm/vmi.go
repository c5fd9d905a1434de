// Package vm holds what the commands need of a VMI and of its virt-launcher pod, and what follows from it. It is pure:
// objects come in, values go out.
package vm

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Running is the phase in which a VMI has a hypervisor, and with it a metric.
const Running = "Running"

// VMI is a VirtualMachineInstance, cut down. A field that the object does not have, or has in another form, is empty.
type VMI struct {
	Namespace, Name, UID string
	// Phase is KubeVirt's, such as Running.
	Phase string
	// Node is where KubeVirt says that it runs.
	Node string
	// Architecture of the guest as Kubernetes writes it, such as amd64; empty where nobody chose one.
	Architecture string
	// Machine is the machine type that libvirt resolved.
	Machine string
	Created time.Time
}

// FromObject reads a VMI. It takes any object and never fails: a VMI is shown with what is known of it.
func FromObject(object *unstructured.Unstructured) VMI {
	text := func(path ...string) string {
		value, _, err := unstructured.NestedString(object.Object, path...)
		if err != nil {
			return ""
		}
		return value
	}
	return VMI{
		Namespace:    object.GetNamespace(),
		Name:         object.GetName(),
		UID:          string(object.GetUID()),
		Phase:        text("status", "phase"),
		Node:         text("status", "nodeName"),
		Architecture: text("spec", "architecture"),
		Machine:      text("status", "machine", "type"),
		Created:      object.GetCreationTimestamp().Time,
	}
}

// Key names a VMI in a cluster.
type Key struct{ Namespace, Name string }

// String is namespace and name as people write them.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Key is the VMI's.
func (v VMI) Key() Key { return Key{v.Namespace, v.Name} }

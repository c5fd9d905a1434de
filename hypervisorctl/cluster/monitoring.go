package cluster

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources of other projects. Their Go types would double the size of the program.
func vmis() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubevirt.io", Version: "v1", Resource: "virtualmachineinstances"}
}

func kubevirts() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "kubevirt.io", Version: "v1", Resource: "kubevirts"}
}

// object reads one object of another project.
func (c *Cluster) object(ctx context.Context, resource schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	object, err := c.dynamic.Resource(resource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	return object, access(err)
}

// typed reads the fields that T has.
func typed[T any](object *unstructured.Unstructured) (T, error) {
	var one T
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &one)
	if err != nil {
		err = fmt.Errorf("read %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return one, err
}

// KubeVirt is the part of the KubeVirt object that matters for hypervisors.
type KubeVirt struct {
	// Phase such as Deployed; Version such as v1.9.0; Registry, of its images, such as quay.io/kubevirt.
	Phase, Version, Registry string
	// UseEmulation lets VMs run without the hypervisor's device.
	UseEmulation bool
	// CrossArchitecture is the feature gate CrossArchitectureVirtualization.
	CrossArchitecture bool
}

// KubeVirt reads the KubeVirt object, of which a cluster has one; nil if it has none.
func (c *Cluster) KubeVirt(ctx context.Context) (*KubeVirt, error) {
	list, err := c.dynamic.Resource(kubevirts()).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, access(err)
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	object, developer := list.Items[0].Object, []string{"spec", "configuration", "developerConfiguration"}
	var k KubeVirt
	// A field that is missing or has another form counts as not set: KubeVirt's own default is false.
	k.Phase, _, _ = unstructured.NestedString(object, "status", "phase")
	k.Version, _, _ = unstructured.NestedString(object, "status", "observedKubeVirtVersion")
	k.Registry, _, _ = unstructured.NestedString(object, "status", "observedKubeVirtRegistry")
	k.UseEmulation, _, _ = unstructured.NestedBool(object, append(developer, "useEmulation")...)
	gates, _, _ := unstructured.NestedStringSlice(object, append(developer, "featureGates")...)
	k.CrossArchitecture = slices.Contains(gates, "CrossArchitectureVirtualization")
	return &k, nil
}

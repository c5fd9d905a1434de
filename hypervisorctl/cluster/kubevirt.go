package cluster

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// KubeVirt is the part of the KubeVirt object that matters for hypervisors.
type KubeVirt struct {
	// Phase such as Deployed; Version such as v1.9.0.
	Phase, Version string
	// UseEmulation lets VMs run without the hypervisor's device.
	UseEmulation bool
	// CrossArchitecture is the feature gate CrossArchitectureVirtualization.
	CrossArchitecture bool
}

// KubeVirt reads the KubeVirt object, of which a cluster has one; nil if it has none.
func (c *Cluster) KubeVirt(ctx context.Context) (*KubeVirt, error) {
	list, err := c.dynamic.Resource(kubevirts()).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, access(err, "list", kubevirts().GroupResource(), "", "", "")
	}
	if len(list.Items) == 0 {
		return nil, nil
	}
	return kubeVirtOf(&list.Items[0]), nil
}

func kubeVirtOf(object *unstructured.Unstructured) *KubeVirt {
	developer := func(field ...string) []string {
		return append([]string{"spec", "configuration", "developerConfiguration"}, field...)
	}
	var k KubeVirt
	// A field that is missing or has another form counts as not set: KubeVirt's own default is false.
	k.Phase, _, _ = unstructured.NestedString(object.Object, "status", "phase")
	k.Version, _, _ = unstructured.NestedString(object.Object, "status", "observedKubeVirtVersion")
	k.UseEmulation, _, _ = unstructured.NestedBool(object.Object, developer("useEmulation")...)
	gates, _, _ := unstructured.NestedStringSlice(object.Object, developer("featureGates")...)
	k.CrossArchitecture = slices.Contains(gates, "CrossArchitectureVirtualization")
	return &k
}

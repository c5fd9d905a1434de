package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kubelets returns the kubelets' versions, by node. Virtual nodes, which have none, are left out.
func (c *Cluster) Kubelets(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	err := Each(ctx, c, c.CoreV1().Nodes().List, metav1.ListOptions{}, func(node *corev1.Node) {
		if !Virtual(node) {
			found[node.Name] = node.Status.NodeInfo.KubeletVersion
		}
	})
	return found, err
}

// Virtual reports whether a node has no kubelet and runs no VM (manifests/relay/daemonset.yaml leaves out the same).
func Virtual(node *corev1.Node) bool {
	return node.Labels["type"] == "virtual-kubelet" || node.Labels["eks.amazonaws.com/compute-type"] == "fargate" ||
		node.Labels["liqo.io/type"] == "virtual-node"
}

// OperatorVersion is that of the Prometheus operator whose PodMonitors the cluster has; empty if they do not say.
func (c *Cluster) OperatorVersion(ctx context.Context) (string, error) {
	definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	definition, err := c.object(ctx, definitions, "", "podmonitors.monitoring.coreos.com")
	if err != nil {
		return "", err
	}
	return definition.GetAnnotations()["operator.prometheus.io/version"], nil
}

package cluster

import (
	"context"
	_ "embed"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// launcher is webhook/inject/testdata/masq.yaml, a pod that KubeVirt 1.9 created, without what refers to its VMI and its
// cluster; a test compares them.
//
//go:embed launcher.yaml
var launcher []byte

// Launcher returns a new synthetic virt-launcher pod for DryRun.
func Launcher(namespace string) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(launcher, pod); err != nil {
		return nil, fmt.Errorf("read the synthetic pod: %w", err)
	}
	pod.Namespace = namespace
	return pod, nil
}

// DryRun lets the API server admit a virt-launcher pod as if it were created, and returns what would be stored. Nothing is
// stored: no pod is created, no quota is charged, no controller sees it.
func (c *Cluster) DryRun(ctx context.Context, namespace string) (*corev1.Pod, error) {
	pod, err := Launcher(namespace)
	if err != nil {
		return nil, err
	}
	admitted, err := c.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return nil, access(err, "create", corev1.Resource("pods"), "", namespace, "")
	}
	return admitted, nil
}

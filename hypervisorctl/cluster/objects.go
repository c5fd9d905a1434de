package cluster

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// EachObject calls use for an object of any kind or, without a name, for each of a list. A namespace is empty for all, and
// for cluster-scoped resources.
func (c *Cluster) EachObject(
	ctx context.Context, resource schema.GroupVersionResource, namespace, name string, options metav1.ListOptions, use func(*unstructured.Unstructured),
) error {
	if name == "" {
		return Each(ctx, c, c.dynamic.Resource(resource).Namespace(namespace).List, options, use)
	}
	object, err := c.object(ctx, resource, namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return errors.New("does not exist")
	case err != nil:
		return err
	}
	use(object)
	return nil
}

// Log reads the log of one container, at most a megabyte.
func (c *Cluster) Log(ctx context.Context, pod *corev1.Pod, options corev1.PodLogOptions) ([]byte, error) {
	return read(ctx, c.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &options), pod.Name)
}

// PublishedCA reads the CA of the relay's certificate, PEM, from the ConfigMap in which the certificate process publishes it.
func (c *Cluster) PublishedCA(ctx context.Context, namespace string) (string, error) {
	published, err := Get(ctx, c.CoreV1().ConfigMaps(namespace).Get, RelayCA)
	if err != nil {
		return "", err
	}
	return published.Data["ca.crt"], nil
}

// HasSecret returns nil if the Secret exists. It reads the metadata alone.
func (c *Cluster) HasSecret(ctx context.Context, namespace, name string) error {
	secrets := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(namespace)
	_, err := secrets.Get(ctx, name, metav1.GetOptions{})
	return access(err)
}

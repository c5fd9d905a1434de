package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/node"
)

// patience bounds every wait. It is generous: a busy machine is no reason to fail.
const patience = 8 * time.Minute

// IsNotFound reports whether the error is that an object does not exist.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

// WaitNode waits for a node to be ready.
func (c *Client) WaitNode(ctx context.Context, name string) error {
	return node.Until(ctx, patience, "node "+name, func(ctx context.Context) error {
		found, err := c.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range found.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("not ready")
	})
}

// WaitRollout waits until Deployments, DaemonSets or StatefulSets of a namespace are rolled out: their newest templates
// are available as often as they should be.
func (c *Client) WaitRollout(ctx context.Context, namespace, kind string, names ...string) error {
	for _, name := range names {
		err := node.Until(ctx, patience, kind+" "+namespace+"/"+name, func(ctx context.Context) error {
			return c.rolledOut(ctx, namespace, kind, name)
		})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.Describe(ctx, namespace))
		}
	}
	return nil
}

func (c *Client) rolledOut(ctx context.Context, namespace, kind, name string) error {
	var generation, observed int64
	var want, updated, available, all int32
	get := metav1.GetOptions{}
	switch kind {
	case "Deployment":
		d, err := c.AppsV1().Deployments(namespace).Get(ctx, name, get)
		if err != nil {
			return err
		}
		generation, observed, want = d.Generation, d.Status.ObservedGeneration, *d.Spec.Replicas
		updated, available, all = d.Status.UpdatedReplicas, d.Status.AvailableReplicas, d.Status.Replicas
	case "DaemonSet":
		d, err := c.AppsV1().DaemonSets(namespace).Get(ctx, name, get)
		if err != nil {
			return err
		}
		generation, observed, want = d.Generation, d.Status.ObservedGeneration, max(1, d.Status.DesiredNumberScheduled)
		updated, available, all = d.Status.UpdatedNumberScheduled, d.Status.NumberAvailable, want
	case "StatefulSet":
		s, err := c.AppsV1().StatefulSets(namespace).Get(ctx, name, get)
		if err != nil {
			return err
		}
		generation, observed, want = s.Generation, s.Status.ObservedGeneration, *s.Spec.Replicas
		updated, available, all = s.Status.UpdatedReplicas, s.Status.AvailableReplicas, s.Status.Replicas
	}
	if observed < generation || updated < want || available < want || all > want {
		return fmt.Errorf("%d of %d available, %d of the newest template", available, want, updated)
	}
	return nil
}

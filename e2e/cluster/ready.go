package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/poll"
)

// IsNotFound says whether the error is that an object does not exist.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

// WaitNode waits for a node to be ready.
func (c *Client) WaitNode(ctx context.Context, name string) error {
	return poll.Until(ctx, 3*time.Minute, "node "+name, func(ctx context.Context) error {
		node, err := c.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("not ready")
	})
}

// WaitDeployments waits until each Deployment of a namespace is rolled out.
func (c *Client) WaitDeployments(ctx context.Context, namespace string, names ...string) error {
	for _, name := range names {
		err := poll.Until(ctx, 4*time.Minute, "deployment "+namespace+"/"+name, func(ctx context.Context) error {
			d, err := c.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return rolledOut(d)
		})
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.Describe(ctx, namespace))
		}
	}
	return nil
}

func rolledOut(d *appsv1.Deployment) error {
	want, s := *d.Spec.Replicas, d.Status
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > want {
		return fmt.Errorf("%d of %d replicas available", s.AvailableReplicas, want)
	}
	return nil
}

// WaitDaemonSet waits until a DaemonSet is rolled out: its newest template is available on every node that wants it.
func (c *Client) WaitDaemonSet(ctx context.Context, namespace, name string) error {
	err := poll.Until(ctx, 4*time.Minute, "daemonset "+namespace+"/"+name, func(ctx context.Context) error {
		d, err := c.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want, s := d.Status.DesiredNumberScheduled, d.Status
		if s.ObservedGeneration < d.Generation || want == 0 || s.UpdatedNumberScheduled < want || s.NumberAvailable < want {
			return fmt.Errorf("%d of %d nodes", min(s.UpdatedNumberScheduled, s.NumberAvailable), want)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.Describe(ctx, namespace))
	}
	return nil
}

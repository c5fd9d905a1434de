package cluster

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

// largestPage is how much of a metrics page is read; the webhook's has some 30 KiB.
const largestPage = 1 << 20

// Configuration reads the webhook's registration.
func (c *Cluster) Configuration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
	configuration, err := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().
		Get(ctx, product.Configuration, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", admissionv1.Resource("mutatingwebhookconfigurations"), "", "", product.Configuration)
	}
	return configuration, nil
}

// Policy reads the policy with which the API server injects instead of the webhook.
func (c *Cluster) Policy(ctx context.Context) (*admissionv1.MutatingAdmissionPolicy, error) {
	policy, err := c.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Get(ctx, product.Configuration, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", admissionv1.Resource("mutatingadmissionpolicies"), "", "", product.Configuration)
	}
	return policy, nil
}

// PolicyBound says whether the policy has its binding; without one it does nothing.
func (c *Cluster) PolicyBound(ctx context.Context) (bool, error) {
	binding, err := c.client.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Get(ctx, product.Configuration, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, access(err, "get", admissionv1.Resource("mutatingadmissionpolicybindings"), "", "", product.Configuration)
	}
	return binding.Spec.PolicyName == product.Configuration, nil
}

// Deployment reads one of the product's Deployments.
func (c *Cluster) Deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error) {
	deployment, err := c.client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", appsv1.Resource("deployments"), "", namespace, name)
	}
	return deployment, nil
}

// RelaySet reads the relay's DaemonSet.
func (c *Cluster) RelaySet(ctx context.Context, namespace string) (*appsv1.DaemonSet, error) {
	set, err := c.client.AppsV1().DaemonSets(namespace).Get(ctx, product.Relay, metav1.GetOptions{})
	if err != nil {
		return nil, access(err, "get", appsv1.Resource("daemonsets"), "", namespace, product.Relay)
	}
	return set, nil
}

// logLines is how many of a log's last lines are read.
const logLines = 100

// RelayLog reads the end of a relay's log.
func (c *Cluster) RelayLog(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	lines, most := int64(logLines), int64(largestPage)
	stream, err := c.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: "relay", TailLines: &lines, LimitBytes: &most,
	}).Stream(ctx)
	if err != nil {
		return nil, access(err, "get", corev1.Resource("pods"), "log", pod.Namespace, pod.Name)
	}
	defer func() { _ = stream.Close() }() // nothing was written
	return readAtMost(stream, largestPage)
}

// ReadyAddresses counts the addresses of the webhook's Service that the API server uses.
func (c *Cluster) ReadyAddresses(ctx context.Context, namespace string) (int, error) {
	slices, err := c.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: discoveryv1.LabelServiceName + "=" + product.Webhook,
	})
	if err != nil {
		return 0, access(err, "list", discoveryv1.Resource("endpointslices"), "", namespace, "")
	}
	ready := 0
	for i := range slices.Items {
		for _, endpoint := range slices.Items[i].Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				ready += len(endpoint.Addresses)
			}
		}
	}
	return ready, nil
}

// Pods lists the pods of the product's own namespace that match the selector.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, access(err, "list", corev1.Resource("pods"), "", namespace, "")
	}
	return pods.Items, nil
}

// WebhookPage reads the metrics of a webhook pod through the API server's proxy. The port "metrics" is plain HTTP without
// authentication.
func (c *Cluster) WebhookPage(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	port := portOf(pod, "metrics")
	if port == 0 {
		return nil, fmt.Errorf("pod %s has no port called metrics", pod.Name)
	}
	stream, err := c.client.CoreV1().Pods(pod.Namespace).
		ProxyGet("http", pod.Name, fmt.Sprint(port), "metrics", nil).Stream(ctx)
	if err != nil {
		return nil, access(err, "get", corev1.Resource("pods"), "proxy", pod.Namespace, pod.Name)
	}
	defer func() { _ = stream.Close() }() // nothing was written
	return readAtMost(stream, largestPage)
}

// portOf is the number of a pod's port; 0 if it has none of that name.
func portOf(pod *corev1.Pod, name string) int32 {
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.Name == name {
				return port.ContainerPort
			}
		}
	}
	return 0
}

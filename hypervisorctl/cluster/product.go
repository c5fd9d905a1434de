package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// The names that manifests/ gives to objects; the tests install the manifests themselves.
const (
	// ExporterNamespace is where the webhook is installed by default.
	ExporterNamespace = "hypervisor-exporter"
	// Webhook is the Deployment and the Service of the webhook.
	Webhook = "hypervisor-exporter-webhook"
	// Certs is the Deployment of the certificate process.
	Certs = "hypervisor-exporter-certs"
	// Configuration is the MutatingWebhookConfiguration or, instead of it, the MutatingAdmissionPolicy and its binding.
	Configuration = "hypervisor-exporter"
	// WebhookSelector selects the webhook's pods.
	WebhookSelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=webhook"

	// Relay is the DaemonSet that passes scrapes on to the sidecars' sockets.
	Relay = "hypervisor-exporter-relay"
	// RelayNamespace is where the relay is installed by default, and the PodMonitor that sends Prometheus through it.
	RelayNamespace = "hypervisor-exporter-relay"
	// RelayServerName is the name in the relay's certificate.
	RelayServerName = Relay + "." + RelayNamespace + ".svc"
	// RelaySelector selects the relay's pods.
	RelaySelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=relay"
	// RelayPort is where the relay listens.
	RelayPort = 9478
	// RelayPath is the URL that a client of the relay must be allowed to get; the relay asks the API server.
	RelayPath = "/metrics/vmis"
	// Scraper is the ServiceAccount that the relay lets scrape.
	Scraper = "hypervisor-exporter-scraper"

	// PodMonitor is the one that finds the VMs.
	PodMonitor = "hypervisor-exporter-vms"
	// VMsJob is the target label job of the VMs, in the PodMonitor and in the scrape configuration.
	VMsJob = "hypervisor-exporter/hypervisor-exporter-vms"
)

// WebhookConfiguration reads the webhook's registration.
func (c *Cluster) WebhookConfiguration(ctx context.Context) (*admissionv1.MutatingWebhookConfiguration, error) {
	read := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get
	return get(ctx, read, admissionv1.Resource("mutatingwebhookconfigurations"), "", Configuration)
}

// Policy reads the policy with which the API server injects instead of the webhook.
func (c *Cluster) Policy(ctx context.Context) (*admissionv1.MutatingAdmissionPolicy, error) {
	read := c.client.AdmissionregistrationV1().MutatingAdmissionPolicies().Get
	return get(ctx, read, admissionv1.Resource("mutatingadmissionpolicies"), "", Configuration)
}

// PolicyBound reports whether the policy has its binding; without one it does nothing.
func (c *Cluster) PolicyBound(ctx context.Context) (bool, error) {
	read := c.client.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Get
	binding, err := get(ctx, read, admissionv1.Resource("mutatingadmissionpolicybindings"), "", Configuration)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && binding.Spec.PolicyName == Configuration, err
}

// Deployment reads one of the product's Deployments.
func (c *Cluster) Deployment(ctx context.Context, namespace, name string) (*appsv1.Deployment, error) {
	return get(ctx, c.client.AppsV1().Deployments(namespace).Get, appsv1.Resource("deployments"), namespace, name)
}

// RelaySet reads the relay's DaemonSet.
func (c *Cluster) RelaySet(ctx context.Context, namespace string) (*appsv1.DaemonSet, error) {
	return get(ctx, c.client.AppsV1().DaemonSets(namespace).Get, appsv1.Resource("daemonsets"), namespace, Relay)
}

// Pods lists the pods of the product's own namespace that match the selector.
func (c *Cluster) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, access(err, "list", corev1.Resource("pods"), "", namespace, "")
	}
	return pods.Items, nil
}

// ReadyAddresses counts the addresses of the webhook's Service that the API server uses.
func (c *Cluster) ReadyAddresses(ctx context.Context, namespace string) (int, error) {
	ready := 0
	webhook := metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + Webhook}
	count := func(slice *discoveryv1.EndpointSlice) {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				ready += len(endpoint.Addresses)
			}
		}
	}
	list := c.client.DiscoveryV1().EndpointSlices(namespace).List
	err := each(ctx, c, list, discoveryv1.Resource("endpointslices"), namespace, webhook, count)
	return ready, err
}

// largestPage is how much of a metrics page or a log is read; the webhook's page has some 30 KiB.
const largestPage = 1 << 20

// RelayLog reads the end of a relay's log.
func (c *Cluster) RelayLog(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	lines, most := int64(100), int64(largestPage)
	request := c.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: "relay", TailLines: &lines, LimitBytes: &most,
	})
	return read(ctx, request, pod, "log")
}

// WebhookPage reads the metrics of a webhook pod through the API server's proxy. The port "metrics" is plain HTTP without
// authentication.
func (c *Cluster) WebhookPage(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.Name == "metrics" {
				request := c.client.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, fmt.Sprint(port.ContainerPort), "metrics", nil)
				return read(ctx, request, pod, "proxy")
			}
		}
	}
	return nil, fmt.Errorf("pod %s has no port called metrics", pod.Name)
}

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
	object, developer := list.Items[0].Object, []string{"spec", "configuration", "developerConfiguration"}
	var k KubeVirt
	// A field that is missing or has another form counts as not set: KubeVirt's own default is false.
	k.Phase, _, _ = unstructured.NestedString(object, "status", "phase")
	k.Version, _, _ = unstructured.NestedString(object, "status", "observedKubeVirtVersion")
	k.UseEmulation, _, _ = unstructured.NestedBool(object, append(developer, "useEmulation")...)
	gates, _, _ := unstructured.NestedStringSlice(object, append(developer, "featureGates")...)
	k.CrossArchitecture = slices.Contains(gates, "CrossArchitectureVirtualization")
	return &k, nil
}

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
	return admitted, access(err, "create", corev1.Resource("pods"), "", namespace, "")
}

package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/webhook/inject"
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
	// RelayCA is the ConfigMap with the CA of the relay's certificate.
	RelayCA = "hypervisor-exporter-relay-ca"
	// RelaySelector selects the relay's pods.
	RelaySelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=relay"
	// RelayPort is where the relay listens.
	RelayPort = 9478
	// RelayPath is the URL that a client of the relay must be allowed to get; the relay asks the API server.
	RelayPath = "/metrics/vmis"
	// Scraper is the ServiceAccount that the relay lets scrape.
	Scraper = "hypervisor-exporter-scraper"

	// VMsPodMonitor is the PodMonitor that finds the VMs.
	VMsPodMonitor = "hypervisor-exporter-vms"
	// VMsJob is the target label job of the VMs, in the PodMonitor and in the scrape configuration.
	VMsJob = "hypervisor-exporter/hypervisor-exporter-vms"
	// RelayJob is the target label job of the relays.
	RelayJob = "hypervisor-exporter-relay/hypervisor-exporter-relay"
)

// DefaultConfig returns the configuration to use if the Deployment cannot be read: the webhook's defaults. Only the port,
// the pull secrets, the architectures and the resources could differ.
func DefaultConfig() inject.Config { return inject.Default("unknown") }

// ConfigOf reads the webhook's configuration from its Deployment. It ignores flags that do not matter for a decision, also
// those of later versions. An error means that the webhook refuses the configuration, or that it cannot be found.
func ConfigOf(deployment *appsv1.Deployment) (inject.Config, error) {
	containers := deployment.Spec.Template.Spec.Containers
	at := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == "webhook" })
	if at < 0 {
		return inject.Config{}, fmt.Errorf("the Deployment %s has no container called webhook", deployment.Name)
	}
	cfg := DefaultConfig()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	cfg.AddFlags(flags)
	if err := flags.Parse(expand(&containers[at])); err != nil {
		return inject.Config{}, refused(deployment, err)
	}
	if err := errors.Join(cfg.Validate(), cfg.RefuseUnset()); err != nil { // as webhook/serve.go
		return inject.Config{}, refused(deployment, err)
	}
	return cfg, nil
}

// refused is the error of arguments with which the webhook does not start, in one line.
func refused(deployment *appsv1.Deployment, err error) error {
	return fmt.Errorf("the webhook refuses the arguments of Deployment %s: %s", deployment.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
}

// expand fills in $(VARIABLES) as the kubelet does, of those that have a plain value.
func expand(container *corev1.Container) []string {
	var pairs []string
	for _, variable := range container.Env {
		pairs = append(pairs, "$("+variable.Name+")", variable.Value)
	}
	replacer := strings.NewReplacer(pairs...)
	words := make([]string, len(container.Args))
	for i, word := range container.Args {
		words[i] = replacer.Replace(word)
	}
	return words
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
	list := c.DiscoveryV1().EndpointSlices(namespace).List
	err := Each(ctx, c, list, webhook, count)
	return ready, err
}

// largestPage is how much of a metrics page or a log is read; the webhook's page has some 30 KiB.
const largestPage = 1 << 20

// RelayLog reads the end of a relay's log.
func (c *Cluster) RelayLog(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	lines, most := int64(100), int64(largestPage)
	request := c.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: "relay", TailLines: &lines, LimitBytes: &most,
	})
	return read(ctx, request, pod.Name)
}

// WebhookPage reads the metrics of a webhook pod through the API server's proxy. The port "metrics" is plain HTTP without
// authentication.
func (c *Cluster) WebhookPage(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	for i := range pod.Spec.Containers {
		for _, port := range pod.Spec.Containers[i].Ports {
			if port.Name == "metrics" {
				request := c.CoreV1().Pods(pod.Namespace).ProxyGet("http", pod.Name, fmt.Sprint(port.ContainerPort), "metrics", nil)
				return read(ctx, request, pod.Name)
			}
		}
	}
	return nil, fmt.Errorf("pod %s has no port called metrics", pod.Name)
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
// stored: no pod is created, no quota is charged, no controller sees it. The annotations are added to the pod. Its images are of
// the registry, since a policy may refuse another; empty is the one of the pod that it was made of.
func (c *Cluster) DryRun(ctx context.Context, namespace, registry string, annotations map[string]string) (*corev1.Pod, error) {
	pod, err := Launcher(namespace)
	if err != nil {
		return nil, err
	}
	if registry != "" {
		for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
			for i := range containers {
				containers[i].Image = registry + containers[i].Image[strings.LastIndex(containers[i].Image, "/"):]
			}
		}
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	maps.Copy(pod.Annotations, annotations)
	admitted, err := c.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return admitted, access(err)
}

// WaitingPod returns the pod of that name, if it is there, and the newest event about a Secret that its kubelet lacks. It
// lists them: the right to list is enough for all checks.
func (c *Cluster) WaitingPod(ctx context.Context, namespace, name string) (*corev1.Pod, string, error) {
	pods, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil || len(pods.Items) == 0 {
		return nil, "", access(err)
	}
	events, err := c.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Pod,reason=FailedToRetrieveImagePullSecret,involvedObject.uid=" + string(pods.Items[0].UID), Limit: 1,
	})
	if err != nil || len(events.Items) == 0 {
		return &pods.Items[0], "", access(err)
	}
	return &pods.Items[0], events.Items[0].Message, nil
}

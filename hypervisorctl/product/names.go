// Package product knows what an installation of the exporter looks like in a cluster: the names of its objects, and
// what the webhook's Deployment says of its configuration. It is pure.
package product

// The names that manifests/ gives to objects; hypervisorctl's tests install the manifests themselves.
const (
	// Namespace is where everything is installed unless told otherwise.
	Namespace = "hypervisor-exporter"
	// Webhook is the Deployment and the Service of the webhook.
	Webhook = "hypervisor-exporter-webhook"
	// Configuration is the MutatingWebhookConfiguration or, in its place, the MutatingAdmissionPolicy and its binding.
	Configuration = "hypervisor-exporter"
	// Relay is the DaemonSet that carries scrapes to the sidecars' sockets.
	Relay = "hypervisor-exporter-relay"
	// PodMonitor is the one that finds the VMs.
	PodMonitor = "hypervisor-exporter-vms"
	// WebhookSelector finds the webhook's pods.
	WebhookSelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=webhook"
	// RelayNamespace is where the relay is installed, and the PodMonitor that sends Prometheus through it.
	RelayNamespace = "hypervisor-exporter-relay"
	// RelayServerName is whom the relay's certificate names.
	RelayServerName = Relay + "." + RelayNamespace + ".svc"
	// RelaySelector finds the relay's pods.
	RelaySelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=relay"
	// RelayPort is where the relay listens.
	RelayPort = 9478
	// RelayPath is the URL of which the relay asks the API server whether a client may get it.
	RelayPath = "/metrics/vmis"
)

// Package product knows what an installation of the exporter looks like in a cluster: the names of its objects, and how
// to read the webhook's configuration from its Deployment. It does no I/O.
package product

// The names that manifests/ gives to objects; hypervisorctl's tests install the manifests themselves.
const (
	// Namespace is where the webhook is installed by default.
	Namespace = "hypervisor-exporter"
	// Webhook is the Deployment and the Service of the webhook.
	Webhook = "hypervisor-exporter-webhook"
	// Certs is the Deployment of the certificate process.
	Certs = "hypervisor-exporter-certs"
	// Configuration is the MutatingWebhookConfiguration or, instead of it, the MutatingAdmissionPolicy and its binding.
	Configuration = "hypervisor-exporter"
	// Relay is the DaemonSet that passes scrapes on to the sidecars' sockets.
	Relay = "hypervisor-exporter-relay"
	// PodMonitor is the one that finds the VMs.
	PodMonitor = "hypervisor-exporter-vms"
	// WebhookSelector finds the webhook's pods.
	WebhookSelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=webhook"
	// RelayNamespace is where the relay is installed, and the PodMonitor that sends Prometheus through it.
	RelayNamespace = "hypervisor-exporter-relay"
	// RelayServerName is the name in the relay's certificate.
	RelayServerName = Relay + "." + RelayNamespace + ".svc"
	// RelaySelector finds the relay's pods.
	RelaySelector = "app.kubernetes.io/name=kubevirt-hypervisor-exporter,app.kubernetes.io/component=relay"
	// Scraper is the ServiceAccount that the relay lets scrape.
	Scraper = "hypervisor-exporter-scraper"
	// VMsJob is the target label job of the VMs, in PodMonitor and scrape configuration alike.
	VMsJob = "hypervisor-exporter/hypervisor-exporter-vms"
	// RelayPort is where the relay listens.
	RelayPort = 9478
	// RelayPath is the URL that the relay asks the API server about: may this client get it?
	RelayPath = "/metrics/vmis"
)

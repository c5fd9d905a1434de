package check

import "kubevirt-hypervisor-exporter/monitoring/rules"

// page is a page of docs/ that explains a line.
type page string

const (
	pageAdmissionPolicy page = "admission-policy.md"
	pageBypassed        page = "runbooks/HypervisorExporterWebhookBypassed.md"
	pageCertificates    page = "runbooks/HypervisorExporterCertificateExpiring.md"
	pageEnable          page = "install.md#enable-a-namespace"
	pageErrors          page = "runbooks/HypervisorExporterWebhookErrors.md"
	pageFailures        page = "operations.md#what-each-failure-looks-like"
	pageFirewalls       page = "operations.md#private-clusters-and-firewalls"
	pageFolder          page = "install.md#the-kubelets-folder"
	pageImage           page = "install.md#the-image"
	pageInstall         page = "install.md"
	pageLimits          page = "operations.md#quotas-and-limits"
	pageMonitoring      page = "platforms.md"
	pageNamespaces      page = "install.md#namespaces"
	pagePodSecurity     page = "operations.md#pod-security-selinux-apparmor"
	pagePriority        page = "install.md#priority"
	pagePullSecrets     page = "install.md#pull-secrets"
	pageRefused         page = "operations.md#pods-that-are-refused"
	pageRelayDown       page = "runbooks/HypervisorExporterRelayDown.md"
	pageRights          page = "hypervisorctl.md#rights"
	pageUpgrade         page = "upgrade.md#upgrade-us"
	pageVersions        page = "support.md#versions"
	pageWebhookDown     page = "runbooks/HypervisorExporterWebhookDown.md"
	pageWithoutMetric   page = "runbooks/VirtualMachineWithoutHypervisorMetric.md"
)

// pageOf returns the page for the lines of a section that name no other.
func pageOf(section string) page {
	return map[string]page{
		"kubernetes":       pageVersions,
		"installation":     pageInstall,
		"webhook":          pageWebhookDown,
		"admission policy": pageAdmissionPolicy,
		"injection":        pageRefused,
		"images":           pageImage,
		"monitoring":       pageMonitoring,
		"prometheus":       pageMonitoring,
		"relay":            pageRelayDown,
		"vms":              pageWithoutMetric,
		"namespaces":       pagePodSecurity,
		"rights":           pageRights,
	}[section]
}

// url is where the page can be read without this repository.
func (p page) url() string { return rules.Docs + "/" + string(p) }

// see returns the line with another page than its section's.
func (l Line) see(p page) Line {
	l.Link = p.url()
	return l
}

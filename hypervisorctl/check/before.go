package check

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
)

// The oldest versions that docs/support.md supports.
const (
	oldestKubernetes = "1.30"
	oldestKubeVirt   = "1.6"
	oldestOperator   = "0.73"
)

// Before checks whether a cluster has what an installation needs. It calls show with each line.
func Before(ctx context.Context, reader *cluster.Cluster, request Request, show func(Line)) *Report {
	request.Exporter = cmp.Or(request.Exporter, cluster.ExporterNamespace)
	request.Relay = cmp.Or(request.Relay, cluster.RelayNamespace)
	return follow(ctx, reader, request, []step{
		{"kubernetes", "version of Kubernetes", (*run).serverVersion},
		{"kubernetes", "kubelets", (*run).kubelets},
		{"kubernetes", "admission API", (*run).admissionAPI},
		{"kubernetes", "KubeVirt", (*run).kubeVirt},
		{"kubernetes", "version of KubeVirt", (*run).kubeVirtVersion},
		{"monitoring", "Prometheus operator", (*run).operator},
		{"namespaces", "Pod Security of the namespaces", (*run).podSecurity},
		{"rights to install", "rights to install", (*run).rightsToInstall},
	}, show)
}

// olderThan reports whether a version is older than the oldest that is supported. One that cannot be read is not.
func olderThan(running, oldest string) bool {
	have, err := version.ParseGeneric(running)
	return err == nil && have.LessThan(version.MustParseGeneric(oldest))
}

func (r *run) serverVersion() ([]Line, error) {
	if olderThan(r.version, oldestKubernetes) {
		return []Line{fail("upgrade Kubernetes to "+oldestKubernetes+" or newer", "Kubernetes %s is not supported: it has no native sidecars that are on by default, or no matchConditions", r.version)}, nil
	}
	return []Line{ok("Kubernetes %s is supported (%s or newer)", r.version, oldestKubernetes)}, nil
}

func (r *run) kubeVirtVersion() ([]Line, error) {
	kubevirt, err := r.reader.KubeVirt(r.ctx)
	if err != nil || kubevirt == nil {
		return nil, nil // the step before reports it
	}
	if olderThan(kubevirt.Version, oldestKubeVirt) {
		return []Line{fail("upgrade KubeVirt to "+oldestKubeVirt+" or newer", "KubeVirt %s is not supported", kubevirt.Version)}, nil
	}
	return []Line{ok("KubeVirt %s is supported (%s or newer)", kubevirt.Version, oldestKubeVirt)}, nil
}

// kubelets: the sidecar is a native one, which the node's kubelet must know, too.
func (r *run) kubelets() ([]Line, error) {
	found, err := r.reader.Kubelets(r.ctx)
	if err != nil {
		return nil, err
	}
	var old []string
	for name, running := range found {
		if olderThan(running, oldestKubernetes) {
			old = append(old, name+" ("+running+")")
		}
	}
	if len(old) > 0 {
		return []Line{fail("upgrade these kubelets", "these nodes have kubelets that are not supported: VMs with a native sidecar may not start there").about(old)}, nil
	}
	return []Line{ok("the kubelets of %s know native sidecars", survey.Count(len(found), "node", "nodes"))}, nil
}

func (r *run) admissionAPI() ([]Line, error) {
	const api = "admissionregistration.k8s.io/v1"
	served, err := r.reader.Serves(r.ctx, api)
	if err != nil {
		return nil, err
	}
	var lacking []string
	for _, need := range []string{"mutatingwebhookconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings"} {
		if !slices.Contains(served, need) {
			lacking = append(lacking, need)
		}
	}
	if len(lacking) > 0 {
		return []Line{fail("enable the API in the API server (--runtime-config)", "the API server does not serve these resources of %s", api).about(lacking)}, nil
	}
	policies := "no"
	if slices.Contains(served, "mutatingadmissionpolicies") {
		policies = "yes"
	}
	return []Line{ok("the API server serves webhooks (injection by a policy possible: %s)", policies)}, nil
}

func (r *run) operator() ([]Line, error) {
	served, err := r.reader.Serves(r.ctx, "monitoring.coreos.com/v1")
	if err != nil {
		return nil, err
	}
	for _, need := range []string{"podmonitors", "prometheusrules"} {
		if !slices.Contains(served, need) {
			return []Line{warn("install it, or use the variant without-prometheus-operator", "the Prometheus operator is not installed: the API server does not serve %s", need).see(pageInstall)}, nil
		}
	}
	running, err := r.reader.OperatorVersion(r.ctx)
	switch {
	case err != nil:
		return nil, err
	case running == "":
		return []Line{ok("the API server serves the kinds of the Prometheus operator (version not known)")}, nil
	case olderThan(running, oldestOperator):
		return []Line{fail("upgrade the operator and its CustomResourceDefinitions to "+oldestOperator+" or newer",
			"the Prometheus operator's kinds are of %s, which does not know all fields of our PodMonitors", running).see(pageVersions)}, nil
	default:
		return []Line{ok("the Prometheus operator's kinds are of %s (%s or newer)", running, oldestOperator)}, nil
	}
}

// podSecurity: webhook and certificate process meet the level restricted; the relay has a hostPath.
func (r *run) podSecurity() ([]Line, error) {
	var lines []Line
	for _, name := range []string{r.request.Exporter, r.request.Relay} {
		namespace, err := cluster.Get(r.ctx, r.reader.CoreV1().Namespaces().Get, name)
		switch {
		case absent(err):
			lines = append(lines, ok("namespace %s does not exist yet", name))
		case err != nil:
			return lines, err
		default:
			lines = append(lines, podSecurityLine(name, namespace.Labels["pod-security.kubernetes.io/enforce"], name == r.request.Relay))
		}
	}
	return lines, nil
}

func podSecurityLine(namespace, level string, relay bool) Line {
	if relay && level != "privileged" && level != "" {
		return fail("kubectl label --overwrite namespace "+namespace+" pod-security.kubernetes.io/enforce=privileged, or use the variant direct, which needs no relay",
			"namespace %s enforces the Pod Security level %s: the relay's pods, which have a hostPath, are refused", namespace, level).see(pagePodSecurity)
	}
	return ok("namespace %s admits our pods (Pod Security level: %s)", namespace, cmp.Or(level, "the cluster's default"))
}

// installs are the kinds of objects that an installation creates (manifests/), and whether they are in a namespace.
func installs() map[string]bool {
	return map[string]bool{
		"namespaces": false, "serviceaccounts": true, "services": true, "secrets": true, "configmaps": true, "resourcequotas": true,
		"deployments.apps": true, "daemonsets.apps": true,
		"networkpolicies.networking.k8s.io": true, "poddisruptionbudgets.policy": true,
		"roles.rbac.authorization.k8s.io": true, "rolebindings.rbac.authorization.k8s.io": true,
		"clusterroles.rbac.authorization.k8s.io": false, "clusterrolebindings.rbac.authorization.k8s.io": false,
		"mutatingwebhookconfigurations.admissionregistration.k8s.io":     false,
		"validatingadmissionpolicies.admissionregistration.k8s.io":       false,
		"validatingadmissionpolicybindings.admissionregistration.k8s.io": false,
		"podmonitors.monitoring.coreos.com":                              true, "prometheusrules.monitoring.coreos.com": true,
	}
}

func (r *run) rightsToInstall() ([]Line, error) {
	var lacking []string
	for _, kind := range slices.Sorted(maps.Keys(installs())) {
		resource, group, _ := strings.Cut(kind, ".")
		for _, namespace := range r.namespacesOf(kind) {
			for _, verb := range []string{"create", "patch"} {
				err := r.reader.May(r.ctx, authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource, Namespace: namespace})
				switch {
				case cluster.IsDenied(err):
					lacking = append(lacking, "kubectl auth can-i "+denialOf(err).right)
				case err != nil:
					return nil, err
				}
			}
		}
	}
	if len(lacking) > 0 {
		line := fail("let an administrator install it", "you may not install it: %s", survey.Count(len(lacking), "right is missing", "rights are missing")).see(pageInstall).about(lacking)
		line.rows = true
		return []Line{line}, nil
	}
	return []Line{ok("you may create all objects of an installation")}, nil
}

func (r *run) namespacesOf(kind string) []string {
	if installs()[kind] {
		return []string{r.request.Exporter, r.request.Relay}
	}
	return []string{""}
}

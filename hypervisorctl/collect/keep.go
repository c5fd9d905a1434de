package collect

import (
	"maps"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// What is kept of an object is listed in this file, field by field; everything else is left out. So a field that a later
// version of Kubernetes adds, or in which someone else has a secret, is not in the bundle.

// leftOut takes the place of a value that could be a secret.
const leftOut = "(left out)"

// rule returns what is kept of a value of an object's JSON; nil keeps nothing.
type rule func(value any) any

func whole(value any) any { return value }

// each applies a rule to each element of a list, or to a value that is not a list.
func each(keep rule) rule {
	return func(value any) any {
		list, ok := value.([]any)
		if !ok {
			return keep(value)
		}
		var kept []any
		for _, one := range list {
			if one = keep(one); one != nil {
				kept = append(kept, one)
			}
		}
		return kept
	}
}

// fields keeps the named fields of an object, or of each object of a list, whole, and the fields of rules by them.
func fields(rules map[string]rule, names ...string) rule {
	rules = maps.Clone(rules)
	if rules == nil {
		rules = map[string]rule{}
	}
	for _, name := range names {
		rules[name] = whole
	}
	return each(func(value any) any {
		object, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		kept := map[string]any{}
		for name, keep := range rules {
			if field, found := object[name]; found {
				if field = keep(field); field != nil {
					kept[name] = field
				}
			}
		}
		return kept
	})
}

// named keeps the objects of a list that have the name.
func named(name string, keep rule) rule {
	return each(func(value any) any {
		if object, ok := value.(map[string]any); ok && object["name"] == name {
			return keep(object)
		}
		return nil
	})
}

// texts keeps all keys of labels or annotations, and the values of those with a prefix.
func texts(prefixes ...string) rule {
	return func(value any) any {
		object, _ := value.(map[string]any)
		kept := map[string]any{}
		for key, text := range object {
			kept[key] = leftOut
			if slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
				kept[key] = text
			}
		}
		return kept
	}
}

// variable keeps the name of an environment variable, what it refers to, and the values that the product sets.
func variable(value any) any {
	kept, ok := fields(nil, "name", "value", "valueFrom")(value).(map[string]any)
	if ok && kept["value"] != nil && !slices.Contains([]any{"GOMAXPROCS", "GOMEMLIMIT", "GOGC"}, kept["name"]) {
		kept["value"] = leftOut
	}
	return kept
}

// container keeps the product's containers, and of others only name and image: their arguments could be secrets.
func container(value any) any {
	object, _ := value.(map[string]any)
	if !slices.Contains([]any{"webhook", "certs", "relay", inject.ContainerName}, object["name"]) {
		return fields(nil, "name", "image", "resources")(value)
	}
	return fields(map[string]rule{"env": each(variable)}, "name", "image", "imagePullPolicy", "command", "args", "ports", "resources",
		"restartPolicy", "securityContext", "terminationMessagePolicy", "volumeMounts")(value)
}

const ours, kubeVirts = "hypervisor-exporter.kubevirt.io/", "kubevirt.io"

// metadata keeps all labels: these objects are the administrators'.
var metadata = fields(map[string]rule{"annotations": texts(ours)},
	"name", "namespace", "uid", "generation", "creationTimestamp", "deletionTimestamp", "ownerReferences", "labels")

// volumes keeps no CSI volume, whose attributes could be secrets, and nothing of a Secret but its name.
var volumes = fields(nil, "name", "secret", "configMap", "emptyDir", "hostPath", "downwardAPI", "projected")

var podSpec = fields(map[string]rule{"containers": each(container), "initContainers": each(container), "volumes": volumes},
	"affinity", "automountServiceAccountToken", "dnsPolicy", "enableServiceLinks", "hostNetwork", "imagePullSecrets", "nodeName", "nodeSelector",
	"priorityClassName", "restartPolicy", "securityContext", "serviceAccountName", "tolerations", "topologySpreadConstraints")

var workload = fields(map[string]rule{"metadata": metadata, "spec": fields(map[string]rule{
	"template": fields(map[string]rule{"metadata": metadata, "spec": podSpec}),
}, "replicas", "selector", "strategy", "updateStrategy")}, "apiVersion", "kind", "status")

var pod = fields(map[string]rule{"metadata": metadata, "spec": podSpec}, "apiVersion", "kind", "status")

// launcher keeps the sidecar of a VM's pod. Labels and annotations are copied from the VM, whose owner writes them.
var launcher = fields(map[string]rule{
	"metadata": fields(map[string]rule{"labels": texts(ours, kubeVirts), "annotations": texts(ours)},
		"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "ownerReferences"),
	"spec": fields(map[string]rule{
		"initContainers": named(inject.ContainerName, container), "volumes": named(inject.VolumeName, volumes),
	}, "nodeName"),
	"status": fields(map[string]rule{"initContainerStatuses": named(inject.ContainerName, whole)}, "phase", "startTime", "conditions", "qosClass"),
}, "apiVersion", "kind")

var configuration = fields(map[string]rule{"metadata": metadata}, "apiVersion", "kind", "webhooks", "spec")

var endpoints = fields(map[string]rule{"metadata": metadata}, "apiVersion", "kind", "endpoints", "ports")

var podMonitor = fields(map[string]rule{"metadata": metadata, "spec": fields(map[string]rule{
	"podMetricsEndpoints": fields(nil, "port", "path", "scheme", "interval", "scrapeTimeout", "honorLabels", "relabelings", "metricRelabelings",
		"tlsConfig", "authorization", "bearerTokenSecret", "filterRunning"),
}, "selector", "namespaceSelector", "attachMetadata")}, "apiVersion", "kind")

var prometheusRule = fields(map[string]rule{"metadata": metadata}, "apiVersion", "kind", "spec")

var prometheus = fields(map[string]rule{"metadata": metadata, "spec": fields(nil, "podMonitorSelector", "podMonitorNamespaceSelector",
	"ruleSelector", "ruleNamespaceSelector", "ignoreNamespaceSelectors", "enforcedNamespaceLabel", "excludedFromEnforcement", "scrapeInterval",
	"version", "replicas", "serviceAccountName")}, "apiVersion", "kind")

var kubeVirt = fields(map[string]rule{
	"metadata": metadata,
	"spec": fields(map[string]rule{"configuration": fields(nil, "architectureConfiguration", "cpuModel", "developerConfiguration", "evictionStrategy",
		"hypervisors", "imagePullPolicy", "machineType", "migrations", "supportContainerResources", "virtualMachineInstancesPerNode")}),
	"status": fields(nil, "phase", "conditions", "defaultArchitecture", "observedKubeVirtVersion", "operatorVersion", "targetKubeVirtVersion",
		"outdatedVirtualMachineInstanceWorkloads"),
}, "apiVersion", "kind")

var namespace = fields(map[string]rule{"metadata": metadata}, "apiVersion", "kind", "status")

var event = fields(map[string]rule{"metadata": fields(nil, "namespace", "name", "creationTimestamp")}, "count", "eventTime", "firstTimestamp",
	"involvedObject", "lastTimestamp", "message", "reason", "reportingComponent", "series", "source", "type")

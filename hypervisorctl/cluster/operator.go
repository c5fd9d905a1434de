package cluster

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Objects of the Prometheus operator, with the fields that decide whether a Prometheus scrapes VMs and evaluates rules. What
// a field means is in the operator's source (0.85): pkg/apis/monitoring/v1, pkg/prometheus/resource_selector.go,
// pkg/prometheus/promcfg.go, pkg/operator/rules.go and pkg/namespacelabeler.

// The operator's resources.
const (
	PodMonitors      = "podmonitors"
	PrometheusRules  = "prometheusrules"
	prometheuses     = "prometheuses"
	prometheusAgents = "prometheusagents"
	thanosRulers     = "thanosrulers"
)

func monitoring(resource string) schema.GroupVersionResource {
	version := "v1"
	if resource == prometheusAgents {
		version = "v1alpha1"
	}
	return schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: version, Resource: resource}
}

// Kinds of objects that select PodMonitors or PrometheusRules.
const (
	KindPrometheus  = "Prometheus"
	KindAgent       = "PrometheusAgent"
	KindThanosRuler = "ThanosRuler"
)

// Prometheus is an object by which the operator runs a Prometheus, a PrometheusAgent or a ThanosRuler: their fields have the
// same names.
type Prometheus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              PrometheusSpec `json:"spec"`
	Status            struct {
		Conditions []Condition `json:"conditions"`
	} `json:"status"`
}

// String is the kind, the namespace and the name.
func (p *Prometheus) String() string { return p.Kind + " " + p.Namespace + "/" + p.Name }

// Resource is the API server's name of the kind.
func (p *Prometheus) Resource() string {
	switch p.Kind {
	case KindAgent:
		return prometheusAgents
	case KindThanosRuler:
		return thanosRulers
	default:
		return prometheuses
	}
}

// Scrapes reports whether the kind selects PodMonitors.
func (p *Prometheus) Scrapes() bool { return p.Kind != KindThanosRuler }

// Evaluates reports whether the kind selects PrometheusRules.
func (p *Prometheus) Evaluates() bool { return p.Kind != KindAgent }

// Account is the ServiceAccount of its pods.
func (p *Prometheus) Account() string {
	if p.Spec.ServiceAccountName == "" {
		return "default"
	}
	return p.Spec.ServiceAccountName
}

// PrometheusSpec is the part of the operator's types.
type PrometheusSpec struct {
	// PodMonitorSelector and RuleSelector select objects by their labels: nil none, an empty one all.
	PodMonitorSelector *metav1.LabelSelector `json:"podMonitorSelector"`
	RuleSelector       *metav1.LabelSelector `json:"ruleSelector"`
	// PodMonitorNamespaceSelector and RuleNamespaceSelector select the objects' namespaces by labels: nil means its own only,
	// an empty one all.
	PodMonitorNamespaceSelector *metav1.LabelSelector `json:"podMonitorNamespaceSelector"`
	RuleNamespaceSelector       *metav1.LabelSelector `json:"ruleNamespaceSelector"`
	// IgnoreNamespaceSelectors: a PodMonitor finds pods of its own namespace only, whatever its namespaceSelector. OpenShift's
	// monitoring of user workloads and rancher-monitoring are so.
	IgnoreNamespaceSelectors bool `json:"ignoreNamespaceSelectors"`
	// EnforcedNamespaceLabel is a label that each target and each rule gets, with the namespace of its PodMonitor or
	// PrometheusRule, unless it is excluded.
	EnforcedNamespaceLabel  string            `json:"enforcedNamespaceLabel"`
	ExcludedFromEnforcement []ObjectReference `json:"excludedFromEnforcement"`
	ExcludedRules           []RuleReference   `json:"prometheusRulesExcludedFromEnforce"`

	Limits         `json:",inline"`
	EnforcedLimits `json:",inline"`

	Paused bool `json:"paused"`
	// Mode is DaemonSet for an agent on each node, which has no Replicas.
	Mode     string `json:"mode"`
	Replicas *int32 `json:"replicas"`

	ServiceAccountName string `json:"serviceAccountName"`
	// APIServer is another API server, in which it finds its targets.
	APIServer *struct{} `json:"apiserverConfig"`
	// RemoteRead is where it also reads series.
	RemoteRead []struct{} `json:"remoteRead"`

	// Where it sends alerts. The last two are a ThanosRuler's.
	Alerting *struct {
		Alertmanagers []ObjectReference `json:"alertmanagers"`
	} `json:"alerting"`
	AdditionalAlertManagerConfigs *corev1.SecretKeySelector `json:"additionalAlertManagerConfigs"`
	AlertmanagersURL              []string                  `json:"alertmanagersUrl"`
	AlertmanagersConfig           *corev1.SecretKeySelector `json:"alertmanagersConfig"`
}

// Limits are those of a scrape, in a PodMonitor and, as defaults, in a Prometheus. Zero and empty are no limit.
type Limits struct {
	SampleLimit           int64  `json:"sampleLimit"`
	TargetLimit           int64  `json:"targetLimit"`
	LabelLimit            int64  `json:"labelLimit"`
	LabelNameLengthLimit  int64  `json:"labelNameLengthLimit"`
	LabelValueLengthLimit int64  `json:"labelValueLengthLimit"`
	BodySizeLimit         string `json:"bodySizeLimit"`
}

// EnforcedLimits are those of a Prometheus that no PodMonitor can raise.
type EnforcedLimits struct {
	EnforcedSampleLimit           int64  `json:"enforcedSampleLimit"`
	EnforcedTargetLimit           int64  `json:"enforcedTargetLimit"`
	EnforcedLabelLimit            int64  `json:"enforcedLabelLimit"`
	EnforcedLabelNameLengthLimit  int64  `json:"enforcedLabelNameLengthLimit"`
	EnforcedLabelValueLengthLimit int64  `json:"enforcedLabelValueLengthLimit"`
	EnforcedBodySizeLimit         string `json:"enforcedBodySizeLimit"`
}

// ObjectReference names an object; an empty name means all of the namespace.
type ObjectReference struct {
	Resource  string `json:"resource"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// RuleReference names a PrometheusRule.
type RuleReference struct {
	Namespace string `json:"ruleNamespace"`
	Name      string `json:"ruleName"`
}

// Condition is what the operator reports about an object.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Selected is a PodMonitor or a PrometheusRule.
type Selected struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	// Status has what each Prometheus made of it, where the operator reports that (since 0.86, feature gate
	// StatusForConfigurationResources).
	Status struct {
		Bindings []struct {
			Resource   string      `json:"resource"`
			Namespace  string      `json:"namespace"`
			Name       string      `json:"name"`
			Conditions []Condition `json:"conditions"`
		} `json:"bindings"`
	} `json:"status"`
}

// PodMonitor is the part of a PodMonitor that decides what is scraped, and how.
type PodMonitor struct {
	Selected `json:",inline"`
	Spec     struct {
		NamespaceSelector struct {
			Any        bool     `json:"any"`
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		PodMetricsEndpoints []struct {
			Scheme    string `json:"scheme"`
			TLSConfig struct {
				ServerName string `json:"serverName"`
				CA         struct {
					ConfigMap *corev1.ConfigMapKeySelector `json:"configMap"`
					Secret    *corev1.SecretKeySelector    `json:"secret"`
				} `json:"ca"`
			} `json:"tlsConfig"`
			Authorization *struct {
				Credentials *corev1.SecretKeySelector `json:"credentials"`
			} `json:"authorization"`
		} `json:"podMetricsEndpoints"`
		Limits `json:",inline"`
	} `json:"spec"`
}

// PrometheusRule is the part of a PrometheusRule that shows what should be loaded.
type PrometheusRule struct {
	Selected `json:",inline"`
	Spec     struct {
		Groups []RuleGroup `json:"groups"`
	} `json:"spec"`
}

// RuleGroup is a group of rules.
type RuleGroup struct {
	Name  string `json:"name"`
	Rules []struct {
		Alert  string `json:"alert"`
		Record string `json:"record"`
	} `json:"rules"`
}

// vmsPodMonitor reads the PodMonitor of the VMs.
func (c *Cluster) vmsPodMonitor(ctx context.Context, namespace string) (PodMonitor, error) {
	object, err := c.object(ctx, monitoring(PodMonitors), namespace, VMsPodMonitor)
	if err != nil {
		return PodMonitor{}, err
	}
	return typed[PodMonitor](object)
}

// Ours selects what belongs to the product.
const Ours = "app.kubernetes.io/name=kubevirt-hypervisor-exporter"

// PodMonitorsIn lists the product's PodMonitors in its namespaces. Elsewhere a tenant could create one that looks like it.
func (c *Cluster) PodMonitorsIn(ctx context.Context, namespaces []string) ([]PodMonitor, error) {
	return listIn[PodMonitor](ctx, c, PodMonitors, namespaces, Ours)
}

// PrometheusRulesIn lists the product's PrometheusRules in its namespaces.
func (c *Cluster) PrometheusRulesIn(ctx context.Context, namespaces []string) ([]PrometheusRule, error) {
	return listIn[PrometheusRule](ctx, c, PrometheusRules, namespaces, Ours)
}

// Prometheuses lists the objects of the resources prometheuses, prometheusagents and thanosrulers. Those that the cluster
// does not know have none.
func (c *Cluster) Prometheuses(ctx context.Context) ([]Prometheus, error) {
	var all []Prometheus
	for _, resource := range []string{prometheuses, prometheusAgents, thanosRulers} {
		found, err := listIn[Prometheus](ctx, c, resource, []string{metav1.NamespaceAll}, "")
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func listIn[T any](ctx context.Context, c *Cluster, resource string, namespaces []string, selector string) ([]T, error) {
	var all []T
	for _, namespace := range slices.Compact(slices.Sorted(slices.Values(namespaces))) {
		var broken error
		err := Each(ctx, c, c.dynamic.Resource(monitoring(resource)).Namespace(namespace).List, metav1.ListOptions{LabelSelector: selector},
			func(object *unstructured.Unstructured) {
				one, err := typed[T](object)
				if err != nil {
					broken = err
					return
				}
				all = append(all, one)
			})
		if err == nil {
			err = broken
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

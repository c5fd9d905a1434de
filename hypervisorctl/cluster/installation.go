package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podsSelector selects the pods of all our components.
const podsSelector = Ours + ",app.kubernetes.io/component in (webhook,certs,relay)"

// Installation is where the product is installed. It is read from objects that belong to the cluster, which only an
// administrator writes: anyone who may create a pod can give it our labels.
type Installation struct {
	// Webhook is the webhook's registration; nil if there is none.
	Webhook *admissionv1.MutatingWebhookConfiguration
	// Policy injects if there is no webhook; nil if there is none.
	Policy *admissionv1.MutatingAdmissionPolicy
	// Exporter is the namespace of the webhook and the certificate process; empty if no registration names it.
	Exporter string
	// Excluded are namespaces whose pods never get a sidecar, whatever their labels.
	Excluded []string
}

// Installation reads the webhook's registration or, if there is none, the policy in its place.
func (c *Cluster) Installation(ctx context.Context) (Installation, error) {
	webhook, err := Get(ctx, c.AdmissionregistrationV1().MutatingWebhookConfigurations().Get, Configuration)
	if err == nil {
		return ofWebhook(webhook), nil
	}
	if !apierrors.IsNotFound(err) {
		return Installation{}, err
	}
	policy, err := Get(ctx, c.AdmissionregistrationV1().MutatingAdmissionPolicies().Get, Configuration)
	if apierrors.IsNotFound(err) { // also if the API server has no such kind
		return Installation{}, nil
	}
	if err != nil {
		return Installation{}, err
	}
	return ofPolicy(policy), nil
}

func ofWebhook(configuration *admissionv1.MutatingWebhookConfiguration) Installation {
	found := Installation{Webhook: configuration}
	for i := range configuration.Webhooks {
		webhook := &configuration.Webhooks[i]
		if service := webhook.ClientConfig.Service; service != nil && found.Exporter == "" {
			found.Exporter = service.Namespace
		}
		found.Excluded = append(found.Excluded, Excluded(webhook.NamespaceSelector)...)
	}
	return found
}

// ofPolicy: a policy has no Service, but it excludes our own namespace (manifests/components/admission-policy).
func ofPolicy(policy *admissionv1.MutatingAdmissionPolicy) Installation {
	found := Installation{Policy: policy}
	if constraints := policy.Spec.MatchConstraints; constraints != nil {
		found.Excluded = Excluded(constraints.NamespaceSelector)
	}
	if own := without(found.Excluded, metav1.NamespaceSystem); len(own) > 0 {
		found.Exporter = own[0]
	}
	return found
}

// ExcludesByName reports whether a requirement excludes namespaces by their names.
func ExcludesByName(requirement metav1.LabelSelectorRequirement) bool {
	return requirement.Key == corev1.LabelMetadataName && requirement.Operator == metav1.LabelSelectorOpNotIn
}

// Excluded returns the namespaces that the selector excludes by name.
func Excluded(selector *metav1.LabelSelector) []string {
	if selector == nil {
		return nil
	}
	var names []string
	for _, one := range selector.MatchExpressions {
		if ExcludesByName(one) {
			names = append(names, one.Values...)
		}
	}
	return names
}

// RelayNamespace returns the namespace of the relay's DaemonSet; empty if there is no relay. The registration excludes that
// namespace, or the namespace has our label.
func (c *Cluster) RelayNamespace(ctx context.Context, at Installation) (string, error) {
	named := without(at.Excluded, metav1.NamespaceSystem, at.Exporter)
	if found, err := c.relayAmong(ctx, named); found != "" || err != nil {
		return found, err
	}
	var labelled []string
	err := Each(ctx, c, c.CoreV1().Namespaces().List, metav1.ListOptions{LabelSelector: Ours},
		func(namespace *corev1.Namespace) { labelled = append(labelled, namespace.Name) })
	if err != nil {
		return "", err
	}
	return c.relayAmong(ctx, without(labelled, append(named, at.Exporter)...))
}

// relayAmong returns the namespace that has the relay's DaemonSet. A namespace that cannot be read has it if it is the only
// one: what reads the relay next names the missing right.
func (c *Cluster) relayAmong(ctx context.Context, names []string) (string, error) {
	var found []string
	for _, name := range names {
		_, err := Get(ctx, c.AppsV1().DaemonSets(name).Get, Relay)
		switch {
		case err == nil, IsDenied(err) && len(names) == 1:
			found = append(found, name)
		case !apierrors.IsNotFound(err):
			return "", err
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("several namespaces have a relay (%s): name one with --relay-namespace", strings.Join(found, ", "))
	}
}

// Homes returns the namespaces that run pods with our labels, sorted. Anyone who may create pods can make one.
func (c *Cluster) Homes(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	err := Each(ctx, c, c.CoreV1().Pods("").List, metav1.ListOptions{LabelSelector: podsSelector},
		func(pod *corev1.Pod) { found[pod.Namespace] = true })
	return slices.Sorted(maps.Keys(found)), err
}

// without returns the names that are not among the others, each once.
func without(names []string, others ...string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(others, name) && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

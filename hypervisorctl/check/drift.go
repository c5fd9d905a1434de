package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/manifests"
)

// driftLines compares the webhook's registration with the one that is shipped with this program.
func driftLines(configuration *admissionv1.MutatingWebhookConfiguration, own ...string) ([]Line, error) {
	shipped := &admissionv1.MutatingWebhookConfiguration{}
	if err := yaml.UnmarshalStrict(manifests.WebhookConfiguration, shipped); err != nil {
		return nil, fmt.Errorf("read the registration that is shipped: %w", err)
	}
	var lines []Line
	for i := range configuration.Webhooks {
		webhook := &configuration.Webhooks[i]
		at := slices.IndexFunc(shipped.Webhooks, func(w admissionv1.MutatingWebhook) bool { return w.Name == webhook.Name })
		if at < 0 {
			lines = append(lines, warn("check who added it", "the registration has a webhook that is not ours: %s", webhook.Name).see(pageInstall))
			continue
		}
		changed, err := drift(webhook, &shipped.Webhooks[at], own)
		if err != nil {
			return nil, err
		}
		if len(changed) > 0 {
			lines = append(lines, warn(installHint+", unless you changed this on purpose or this program is of another release",
				"webhook %s differs from what is shipped: %s", webhook.Name, strings.Join(changed, ", ")).see(pageUpgrade))
		} else {
			lines = append(lines, ok("webhook %s is registered as shipped", webhook.Name))
		}
	}
	return lines, nil
}

// drift returns the fields in which a webhook differs from the shipped one. Namespaces that are excluded by name may be
// more, but kube-system and our own must be among them.
func drift(webhook, shipped *admissionv1.MutatingWebhook, own []string) ([]string, error) {
	got, err := fieldsOf(webhook)
	if err != nil {
		return nil, err
	}
	want, err := fieldsOf(shipped)
	if err != nil {
		return nil, err
	}
	var changed []string
	names := maps.Clone(got)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !reflect.DeepEqual(got[name], want[name]) {
			changed = append(changed, difference(name, got[name], want[name]))
		}
	}
	for _, namespace := range append(own, metav1.NamespaceSystem) {
		if namespace != "" && !slices.Contains(cluster.Excluded(webhook.NamespaceSelector), namespace) {
			changed = append(changed, "namespaceSelector (does not exclude "+namespace+")")
		}
	}
	return changed, nil
}

// difference names a field, and its values if they are short.
func difference(name string, got, want any) string {
	short := func(value any) bool {
		switch value.(type) {
		case string, float64, bool:
			return true
		default:
			return false
		}
	}
	if short(got) && short(want) {
		return fmt.Sprintf("%s (%v, not %v)", name, got, want)
	}
	return name
}

// fieldsOf returns the fields to compare, with the API server's defaults, and without those that differ by installation or
// have a line of their own.
func fieldsOf(webhook *admissionv1.MutatingWebhook) (map[string]any, error) {
	one := webhook.DeepCopy()
	equivalent := admissionv1.Equivalent
	one.MatchPolicy = cmp.Or(one.MatchPolicy, &equivalent)
	if selector := one.NamespaceSelector; selector != nil {
		selector.MatchExpressions = slices.DeleteFunc(selector.MatchExpressions, cluster.ExcludesByName)
	}
	one.FailurePolicy, one.ClientConfig.CABundle = nil, nil
	if service := one.ClientConfig.Service; service != nil {
		port := int32(443)
		service.Namespace, service.Port = "", cmp.Or(service.Port, &port)
	}
	text, err := json.Marshal(one)
	if err != nil {
		return nil, fmt.Errorf("compare webhook %s: %w", webhook.Name, err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, fmt.Errorf("compare webhook %s: %w", webhook.Name, err)
	}
	return fields, nil
}

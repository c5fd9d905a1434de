package cluster

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
)

// Operator is a running Prometheus operator, with the flags that decide what it watches (cmd/operator/main.go of the
// operator).
type Operator struct {
	Namespace, Pod, Account string

	namespaces, denied, instances []string
	references                    bool
}

// String is the namespace and the name of its pod.
func (o *Operator) String() string { return o.Namespace + "/" + o.Pod }

// WatchesMonitors reports whether it watches PodMonitors and PrometheusRules in the namespace: --namespaces are the only
// ones, or --deny-namespaces all others (pkg/informers: newInformerOptions; pkg/operator/config.go: Finalize).
func (o *Operator) WatchesMonitors(namespace string) bool {
	return watches(o.namespaces, o.denied, namespace)
}

// WatchesReferences reports whether it watches the Secrets and ConfigMaps in the namespace, as
// --prometheus-instance-namespaces limits it to those of a Prometheus (pkg/prometheus/server/operator.go: New). It reads the
// others as well, but a change of theirs changes nothing at first. --watch-referenced-objects-in-all-namespaces lifts that, but
// has no effect before 0.92.1 (tried with 0.85; the operator's issue 8658).
func (o *Operator) WatchesReferences(namespace string) bool {
	return slices.Contains(o.instances, namespace) ||
		(len(o.instances) == 0 || o.references) && watches(o.namespaces, o.denied, namespace)
}

func watches(allowed, denied []string, namespace string) bool {
	if len(allowed) == 0 {
		return !slices.Contains(denied, namespace)
	}
	return slices.Contains(allowed, namespace)
}

// The labels of an operator's pods: the project's own manifests and OpenShift's have the name, kube-prometheus-stack the
// component.
var operatorSelectors = []string{"app.kubernetes.io/name=prometheus-operator", "app.kubernetes.io/component=prometheus-operator"}

// Operators lists the running pods that look like a Prometheus operator. Anyone who may create pods can create one that does:
// ask for the rights of its ServiceAccount.
func (c *Cluster) Operators(ctx context.Context) ([]Operator, error) {
	found := map[string]Operator{}
	for _, selector := range operatorSelectors {
		err := Each(ctx, c, c.CoreV1().Pods(metav1.NamespaceAll).List, metav1.ListOptions{LabelSelector: selector}, func(pod *corev1.Pod) {
			if one := OperatorOf(pod); one != nil {
				found[one.String()] = *one
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return sortedBy(found), nil
}

// OperatorOf reads the flags of an operator's pod. It returns nil if the pod does not run, or has no container of the operator.
func OperatorOf(pod *corev1.Pod) *Operator {
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return nil
	}
	at := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return strings.Contains(c.Name, "prometheus") })
	if len(pod.Spec.Containers) == 1 {
		at = 0
	}
	if at < 0 {
		return nil
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	operator := &Operator{Namespace: pod.Namespace, Pod: pod.Name, Account: account}
	words := expand(&pod.Spec.Containers[at])
	for i, word := range words {
		// Go's package flag: one dash or two, the value after = or in the next word.
		name, value, joined := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(word, "-"), "-"), "=")
		if !strings.HasPrefix(word, "-") {
			continue
		}
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		switch name {
		case "namespaces":
			operator.namespaces = append(operator.namespaces, split(value)...)
		case "deny-namespaces":
			operator.denied = append(operator.denied, split(value)...)
		case "prometheus-instance-namespaces":
			operator.instances = append(operator.instances, split(value)...)
		case "watch-referenced-objects-in-all-namespaces":
			operator.references = !joined || value == "true"
		}
	}
	operator.references = operator.references && atLeast(pod.Spec.Containers[at].Image, referencesSince)
	return operator
}

// referencesSince is the first version in which --watch-referenced-objects-in-all-namespaces works.
const referencesSince = "0.92.1"

// atLeast reports whether an image's tag is that version or a newer one. An image without a version is taken to be older.
func atLeast(image, oldest string) bool {
	image, _, _ = strings.Cut(image, "@")
	running, err := version.ParseGeneric(image[strings.LastIndex(image, ":")+1:])
	return err == nil && running.AtLeast(version.MustParseGeneric(oldest))
}

// split returns the namespaces of a list; the empty one, which means all, is left out.
func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(name string) bool { return name == "" })
}

func sortedBy(found map[string]Operator) []Operator {
	var all []Operator
	for _, one := range found {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Operator) int { return strings.Compare(a.String(), b.String()) })
	return all
}

package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/limits"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// exempt reports whether the API server never calls the webhook for the namespace, whatever its labels
// (manifests/base/mutatingwebhookconfiguration.yaml).
func exempt(namespace string) bool {
	return slices.Contains([]string{"kube-system", cluster.ExporterNamespace, cluster.RelayNamespace}, namespace)
}

// namespaces are the cluster's.
type namespaces struct {
	enabled []string // with the label
	// misspelt have a value of the label that has no meaning.
	misspelt []string
	// all are those that exist, with and without the label.
	all map[string]bool
}

func (n *namespaces) add(namespace *corev1.Namespace) {
	n.all[namespace.Name] = true
	switch value, labelled := namespace.Labels[inject.AnnotationInject]; {
	case !labelled, value == "disabled", value == "false":
	case value == "enabled":
		n.enabled = append(n.enabled, namespace.Name)
	default:
		n.misspelt = append(n.misspelt, fmt.Sprintf("%s (%s)", namespace.Name, value))
	}
}

// is reports whether a namespace is labelled for sidecars.
func (n *namespaces) is(name string) vm.Enabled {
	if slices.Contains(n.enabled, name) {
		return vm.EnabledYes
	}
	return vm.EnabledNo
}

// labels checks which namespaces are labelled for sidecars.
func (r *run) labels() ([]Line, error) {
	found := &namespaces{all: map[string]bool{}}
	if err := cluster.Each(r.ctx, r.reader, r.reader.CoreV1().Namespaces().List, metav1.ListOptions{}, found.add); err != nil {
		return nil, err
	}
	slices.Sort(found.enabled)
	r.namespaces = found
	var lines []Line
	if len(found.enabled) == 0 {
		lines = append(lines, warn("kubectl label namespace NAMESPACE "+inject.AnnotationInject+"=enabled",
			"none of %d namespaces is labelled for sidecars", len(found.all)))
	} else {
		lines = append(lines, ok("%d of %d namespaces are labelled for sidecars", len(found.enabled), len(found.all)).about(found.enabled))
	}
	if len(found.misspelt) > 0 {
		lines = append(lines, fail("kubectl label --overwrite namespace NAMESPACE "+inject.AnnotationInject+"=enabled: the only value that enables sidecars",
			"namespaces have an unknown value of the label %s", inject.AnnotationInject).about(found.misspelt))
	}
	if outside := slices.DeleteFunc(slices.Clone(found.enabled), func(name string) bool { return !exempt(name) }); len(outside) > 0 {
		lines = append(lines, warn("run VMs in another namespace", "the webhook is never called for pods of these namespaces, whatever their labels").about(outside))
	}
	return lines, nil
}

// injected reports whether VMs of the namespace get sidecars.
func (r *run) injected(namespace string) bool {
	return r.namespaces != nil && r.namespaces.is(namespace) == vm.EnabledYes && !exempt(namespace)
}

// limitRanges checks whether LimitRanges of enabled namespaces admit the sidecar.
func (r *run) limitRanges() ([]Line, error) {
	if r.namespaces == nil {
		return nil, nil
	}
	ranges := map[string][]corev1.LimitRange{}
	err := cluster.Each(r.ctx, r.reader, r.reader.CoreV1().LimitRanges(r.request.Namespace).List, metav1.ListOptions{}, func(one *corev1.LimitRange) {
		if r.injected(one.Namespace) {
			ranges[one.Namespace] = append(ranges[one.Namespace], *one)
		}
	})
	if err != nil {
		return nil, err
	}
	launcher, err := cluster.Launcher("")
	if err != nil {
		return nil, err
	}
	return limitLines(r.config, ranges, limits.Samples(launcher), r.byPolicy)
}

// limitLines has a line for each rule that refuses VMs because of the sidecar. Behind a webhook they start without it,
// after some tries; the policy cannot do that.
func limitLines(cfg inject.Config, byNamespace map[string][]corev1.LimitRange, pods []*corev1.Pod, byPolicy bool) ([]Line, error) {
	type problem struct{ text, hint string }
	found := map[problem][]string{}
	for namespace, ranges := range byNamespace {
		refused, err := limits.Refused(cfg, ranges, pods, nil)
		if err != nil {
			return nil, fmt.Errorf("namespace %s: %w", namespace, err)
		}
		if len(refused) > 0 {
			key := problem{refused[0].Text, limitHint(limits.Fix(cfg, ranges, pods))}
			found[key] = append(found[key], namespace+"/"+refused[0].Range)
		}
	}
	var lines []Line
	for key, objects := range found {
		line := warn(key.hint, "LimitRanges refuse VMs with the sidecar, so VMs start without it: %s", key.text)
		if byPolicy {
			line = fail(key.hint, "LimitRanges refuse VMs with the sidecar, so VMs do not start: %s", key.text)
		}
		lines = append(lines, line.about(objects))
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Or(cmp.Compare(a.Text, b.Text), cmp.Compare(a.Hint, b.Hint)) })
	return lines, nil
}

// limitHint returns what to set in the VMs' templates.
func limitHint(annotations map[string]string) string {
	if annotations == nil {
		return "change the LimitRange, or opt the VMs out: spec.template.metadata.annotations " + inject.AnnotationInject + `: "false"`
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		words = append(words, key+": "+annotations[key])
	}
	return "change the LimitRange, or set in the VMs' spec.template.metadata.annotations: " + strings.Join(words, ", ")
}

// quotas checks whether ResourceQuotas of enabled namespaces have room for one more sidecar.
func (r *run) quotas() ([]Line, error) {
	if r.namespaces == nil {
		return nil, nil
	}
	var lacking []string
	err := cluster.Each(r.ctx, r.reader, r.reader.CoreV1().ResourceQuotas(r.request.Namespace).List, metav1.ListOptions{}, func(one *corev1.ResourceQuota) {
		if what := limits.Lacking(r.config, one); what != "" && r.injected(one.Namespace) {
			lacking = append(lacking, fmt.Sprintf("%s/%s (%s)", one.Namespace, one.Name, what))
		}
	})
	if err != nil || len(lacking) == 0 {
		return nil, err
	}
	then := "starts without it"
	if r.byPolicy {
		then = "does not start"
	}
	return []Line{warn("raise the quotas", "ResourceQuotas have no room for a sidecar: a VM that only just fits %s", then).about(lacking)}, nil
}

// What to do if the dry run has no sidecar, which the webhook or the policy should add.
const (
	webhookSilentHint = "the API server did not reach the webhook in time or does not trust it: check its metric " +
		"apiserver_admission_webhook_fail_open_count, and firewalls between it and port 8443 of the webhook's pods"
	policySilentHint = "wait some seconds if the policy is new; otherwise an expression of it fails: " +
		"check the API server's metric apiserver_mutating_admission_policy_check_total"
)

// dryRun lets the API server admit a virt-launcher pod: in the namespace of the request, or in the first that is enabled.
func (r *run) dryRun() ([]Line, error) {
	namespace := r.request.Namespace
	if r.namespaces != nil && namespace == "" {
		if at := slices.IndexFunc(r.namespaces.enabled, r.injected); at >= 0 {
			namespace = r.namespaces.enabled[at]
		}
	}
	switch {
	case namespace == "":
		return []Line{warn("name one with -n", "no namespace to try the injection in")}, nil
	case r.namespaces != nil && !r.namespaces.all[namespace]:
		return []Line{fail("kubectl get namespaces", "there is no namespace %s", namespace)}, nil
	case r.enabled(r.ctx, namespace) == vm.EnabledNo:
		return []Line{warn("kubectl label namespace "+namespace+" "+inject.AnnotationInject+"=enabled",
			"the namespace %s is not labelled for sidecars, so the injection was not tried", namespace)}, nil
	}
	pod, err := r.reader.DryRun(r.ctx, namespace)
	switch {
	case cluster.IsDenied(err):
		return []Line{unread("injection in the namespace "+namespace+" (dry run)", err)}, nil
	case err != nil:
		return []Line{refusedLine(namespace, err)}, nil
	}
	return []Line{r.admittedLine(namespace, pod)}, nil
}

// admittedLine judges the synthetic pod as it was admitted.
func (r *run) admittedLine(namespace string, pod *corev1.Pod) Line {
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	if at < 0 {
		hint := webhookSilentHint
		if r.byPolicy {
			hint = policySilentHint
		}
		return fail(hint, "a virt-launcher pod in the namespace %s does not get the sidecar (dry run)", namespace)
	}
	if image := pod.Spec.InitContainers[at].Image; r.configRead && r.config.Image != "" && image != r.config.Image {
		return warn("a rollout may be in progress: try again",
			"a virt-launcher pod in the namespace %s gets the sidecar image %s instead of %s (dry run)", namespace, image, r.config.Image)
	}
	return ok("a virt-launcher pod in the namespace %s gets the sidecar (dry run)", namespace)
}

// refusedLine is for a pod that was not admitted.
func refusedLine(namespace string, err error) Line {
	hint := "a quota, a policy or another webhook of the cluster may refuse VMs, too"
	if strings.Contains(err.Error(), "does not support dry run") {
		hint = "another webhook does not support dry runs: start a VM and check its pod instead"
	}
	return warn(hint, "the namespace %s does not admit a virt-launcher pod (dry run): %s", namespace, err)
}

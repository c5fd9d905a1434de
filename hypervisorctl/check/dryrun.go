package check

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// mostDryRuns is in how many namespaces the injection is tried.
const mostDryRuns = 10

// What to do if the dry run has no sidecar, which the webhook or the policy should add.
const (
	webhookSilentHint = "the API server did not reach the webhook in time or does not trust it: check firewalls between it and port 8443 of the webhook's pods"
	policySilentHint  = "wait some seconds if the policy is new; otherwise an expression of it fails: " +
		"check the API server's metric apiserver_mutating_admission_policy_check_total"
)

// trial is the result of dry runs.
type trial struct {
	// injected and silent are namespaces whose pod has the sidecar, or not.
	injected, silent []string
	// otherImage are namespaces by the image, if it is another than the webhook's.
	otherImage map[string][]string
	// refused are namespaces that admit no virt-launcher pod, by why; because are those that admit one without the sidecar.
	refused, because map[string][]string
}

// dryRuns lets the API server admit a virt-launcher pod: in the namespace of the request, or in those that are enabled.
func (r *run) dryRuns() ([]Line, error) {
	names, asking, line := r.toTry()
	if line != nil || len(names) == 0 {
		return line, r.namespacesErr
	}
	if r.silent { // the API server counts a dry run among the pods that passed, of which HypervisorExporterWebhookBypassed tells
		return []Line{warn("repair the webhook first", "the injection was not tried: the webhook has no ready address").see(pageWebhookDown)}, nil
	}
	found := trial{otherImage: map[string][]string{}, refused: map[string][]string{}, because: map[string][]string{}}
	var lines []Line
	for _, namespace := range names {
		pod, err := r.reader.DryRun(r.ctx, namespace, r.registry, nil)
		switch {
		case cluster.IsDenied(err):
			lines = append(lines, unread("injection in the namespace "+namespace+" (dry run)", err))
		case err != nil:
			without, other := r.reader.DryRun(r.ctx, namespace, r.registry, map[string]string{inject.AnnotationInject: "false"})
			found.refuse(namespace, err, without != nil && other == nil)
		default:
			found.admit(namespace, pod, r.config.Image, r.configRead)
		}
	}
	r.silent = len(found.silent) > 0
	return append(lines, found.lines(asking, r.byPolicy)...), nil
}

// toTry returns namespaces to try, of how many that ask for sidecars, or a line if there is none.
func (r *run) toTry() (names []string, asking int, lines []Line) {
	only := r.request.Namespace
	switch {
	case only == "" && r.namespaces == nil:
		return nil, 0, nil
	case only == "":
		names = r.mostPopulated()
		if len(names) == 0 {
			return nil, 0, []Line{warn("name one with -n", "no namespace to try the injection in").see(pageEnable)}
		}
		return names[:min(len(names), mostDryRuns)], len(names), nil
	case r.namespaces != nil && !r.namespaces.all[only]:
		return nil, 0, []Line{fail("kubectl get namespaces", "there is no namespace %s", only)}
	case r.enabled(r.ctx, only) == vm.EnabledNo:
		return nil, 0, []Line{warn(labelHint(only),
			"the namespace %s is not labelled for sidecars, so the injection was not tried", only).see(pageEnable)}
	default:
		return []string{only}, 1, nil
	}
}

// mostPopulated returns the enabled namespaces, those with most VMs first.
func (r *run) mostPopulated() []string {
	names := slices.DeleteFunc(slices.Clone(r.namespaces.enabled), func(name string) bool { return !r.injected(name) })
	_, _ = r.population() // if VMs cannot be read, their own step reports it
	vms := map[string]int{}
	for i := range r.surveyed {
		vms[r.surveyed[i].VMI.Namespace]++
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(vms[b], vms[a]) })
	return names
}

// admit judges the synthetic pod as it was admitted.
func (t *trial) admit(namespace string, pod *corev1.Pod, image string, known bool) {
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	switch {
	case at < 0:
		t.silent = append(t.silent, namespace)
	case known && image != "" && pod.Spec.InitContainers[at].Image != image:
		t.otherImage[pod.Spec.InitContainers[at].Image] = append(t.otherImage[pod.Spec.InitContainers[at].Image], namespace)
	default:
		t.injected = append(t.injected, namespace)
	}
}

// refusedPod is the generated name of the refused pod, which differs each time.
var refusedPod = regexp.MustCompile(`^pods "[^"]*" is forbidden: `)

// refuse keeps why a namespace refused the pod; admitted: it takes one without the sidecar.
func (t *trial) refuse(namespace string, err error, admitted bool) {
	why := vm.Brief(refusedPod.ReplaceAllString(err.Error(), ""))
	if admitted {
		t.because[why] = append(t.because[why], namespace)
	} else {
		t.refused[why] = append(t.refused[why], namespace)
	}
}

func (t *trial) lines(asking int, byPolicy bool) []Line {
	var lines []Line
	if len(t.silent) > 0 {
		hint, where := webhookSilentHint, pageFirewalls
		if byPolicy {
			hint, where = policySilentHint, pageAdmissionPolicy
		}
		lines = append(lines, fail(hint, "a virt-launcher pod in %s does not get the sidecar (dry run)", which(t.silent)).see(where).several(t.silent))
	}
	for _, why := range survey.MostFrequent(t.because) {
		lines = append(lines, sidecarRefused(which(t.because[why]), why, byPolicy).several(t.because[why]))
	}
	for _, why := range survey.MostFrequent(t.refused) {
		lines = append(lines, refusedLine(which(t.refused[why]), why).several(t.refused[why]))
	}
	for _, image := range survey.MostFrequent(t.otherImage) {
		lines = append(lines, warn("a rollout may be in progress: try again",
			"a virt-launcher pod in %s gets another sidecar image than the webhook's (dry run): %s", which(t.otherImage[image]), image).see(pageUpgrade).several(t.otherImage[image]))
	}
	if len(t.injected) > 0 {
		text := "dry run"
		if asking > mostDryRuns {
			text = fmt.Sprintf("dry run in %d of %d enabled namespaces, those with most VMs", mostDryRuns, asking)
		}
		lines = append(lines, ok("a virt-launcher pod in %s gets the sidecar (%s)", which(t.injected), text).several(t.injected))
	}
	return lines
}

// several returns the line with its namespaces, unless its text names the only one.
func (l Line) several(namespaces []string) Line {
	if len(namespaces) == 1 {
		return l
	}
	return l.about(namespaces)
}

// which names one namespace, or counts several.
func which(namespaces []string) string {
	if len(namespaces) == 1 {
		return "the namespace " + namespaces[0]
	}
	return fmt.Sprintf("%d namespaces", len(namespaces))
}

// sidecarRefused: the pod is admitted without the sidecar. The webhook leaves out the sidecar after some tries, the policy cannot.
func sidecarRefused(where, why string, byPolicy bool) Line {
	const hint = "let what refuses the pod admit the sidecar"
	if byPolicy {
		return fail(hint, "a virt-launcher pod in %s is refused because of the sidecar, so VMs do not start (dry run): %s", where, why)
	}
	return warn(hint, "a virt-launcher pod in %s is refused because of the sidecar, so VMs start without it (dry run): %s", where, why)
}

// refusedLine is for a pod that is not admitted without the sidecar either.
func refusedLine(where, why string) Line {
	hint := "a quota, a policy or another webhook of the cluster may refuse VMs, too"
	if strings.Contains(why, "does not support dry run") {
		hint = "another webhook does not support dry runs: start a VM and check its pod instead"
	}
	return warn(hint, "a virt-launcher pod in %s is refused with and without the sidecar (dry run): %s", where, why)
}

// failOpens reports how often the API server let a pod pass without the webhook. The count says nothing of when, so it is a
// warning only if the dry run just showed that the webhook is not reached.
func (r *run) failOpens() ([]Line, error) {
	if r.place.Webhook == nil {
		return nil, r.placeErr
	}
	var lines []Line
	for i := range r.place.Webhook.Webhooks {
		name := r.place.Webhook.Webhooks[i].Name
		found, err := r.reader.FailOpens(r.ctx, name)
		switch {
		case cluster.IsDenied(err):
			return nil, err
		case err != nil:
			return []Line{warn("kubectl get --raw /metrics | grep fail_open", "not checked how many pods passed without the webhook: %s", err).see(pageBypassed)}, nil
		}
		line := ok("pods that passed without the webhook since %s: %d (one API server's count)", found.Since.UTC().Format(time.RFC3339), found.Count)
		if r.silent && found.Count > 0 {
			line.Level, line.Hint = Warn, "VMs that started then have no sidecar; the section vms names those that run"
			line = line.see(pageBypassed)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

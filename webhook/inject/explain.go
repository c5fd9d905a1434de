package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Explain says in a few lines, for people, what becomes of a pod and why. It
// knows the pod only: whether its namespace is labelled is not looked at.
func Explain(cfg Config, pod *Pod) string {
	decision := Decide(cfg, pod)
	var b strings.Builder
	fmt.Fprintf(&b, "pod %s: %s: %s\n", podName(pod), decision.Reason, decision.Reason.Sentence())
	for _, w := range decision.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", w)
	}
	for _, op := range decision.Patch {
		fmt.Fprintf(&b, "  %s %s\n", op.Op, op.Path)
	}
	if decision.Injected() {
		explainSidecar(&b, cfg, pod)
	}
	return b.String()
}

func explainSidecar(b *strings.Builder, cfg Config, pod *Pod) {
	s, _ := sizeFor(cfg, pod)
	c := container(cfg, pod, s)
	fmt.Fprintf(b, "  sidecar %s, image %s, exposure %s at %s, %s\n",
		cfg.SidecarVersion(), cfg.Image, cfg.Exposure, cfg.place(), user(c.SecurityContext))
	fmt.Fprintf(b, "  requests cpu %s, memory %s; limits cpu %s, memory %s; GOMEMLIMIT %s\n",
		s.cpu.String(), s.memory.String(), s.cpuLimit.String(), s.memory.String(), s.goMemoryLimit())
	fmt.Fprintf(b, "  %s\n", explainRequest(pod, s))
	fmt.Fprintf(b, "  the node pulls the image with the pod's own pull secrets: %s\n", pullSecrets(pod))
	if name := pod.Spec.RuntimeClassName; name != nil && cfg.Exposure == Unix {
		fmt.Fprintf(b, "  the pod has the runtime class %s: if that is a virtual machine of its own (Kata), no scrape reaches the sidecar's socket\n", quote(*name))
	}
	if isGuaranteed(pod) {
		b.WriteString("  the pod stays Guaranteed. Where the kubelet's memory manager is Static, a VM larger than a NUMA node starts beside a sidecar, " +
			"ours or KubeVirt's guest-console-log, only if the topology manager has the scope pod and the policy best-effort or restricted: set both, or opt out\n")
	}
	fmt.Fprintf(b, "  not looked at: the namespace's label, LimitRange, ResourceQuota and admission policies. To opt out, put the annotation %s: \"false\" into the VM's spec.template.metadata\n", AnnotationInject)
}

func pullSecrets(pod *Pod) string {
	var names []string
	for _, secret := range pod.Spec.ImagePullSecrets {
		names = append(names, quote(secret.Name))
	}
	if names == nil {
		return "none, so a registry that wants one refuses it"
	}
	return strings.Join(names, ", ")
}

// explainRequest says what the node must have for the pod as a whole, and how much of it is the sidecar's.
func explainRequest(pod *Pod, s size) string {
	if pod.Spec.Resources != nil {
		return "the pod as a whole requests no more: the sidecar fits into its own resources (spec.resources)"
	}
	cpu := func(l *ResourceList) Quantity { return l.CPU }
	memory := func(l *ResourceList) Quantity { return l.Memory }
	cpuWith, memoryWith := needed(pod, cpu, s.cpu), needed(pod, memory, s.memory)
	more := func(with, without resource.Quantity) string {
		with = with.DeepCopy()
		with.Sub(without)
		return with.String()
	}
	return fmt.Sprintf("a node must have cpu %s and memory %s free for the pod as a whole, %s and %s of it for the sidecar",
		cpuWith.String(), mebibytes(memoryWith),
		more(cpuWith, needed(pod, cpu, resource.Quantity{})), more(memoryWith, needed(pod, memory, resource.Quantity{})))
}

// mebibytes is a sum of memory, rounded up.
func mebibytes(q resource.Quantity) string { return fmt.Sprintf("%dMi", (q.Value()+1<<20-1)>>20) }

func user(sc *corev1.SecurityContext) string {
	if sc.RunAsUser == nil {
		return "the image's own user (compute states none)"
	}
	return fmt.Sprintf("uid %d as compute", *sc.RunAsUser)
}

// podName is namespace and name as far as a pod has them, escaped: it may come
// from a file that nobody checked.
func podName(pod *Pod) string {
	name := pod.Name
	if name == "" {
		name = pod.GenerateName + "…"
	}
	if pod.Namespace != "" {
		name = pod.Namespace + "/" + name
	}
	return fmt.Sprintf("%q", name)
}

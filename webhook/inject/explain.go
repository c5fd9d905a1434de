package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
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
	fmt.Fprintf(b, "  sidecar %s, image %s, cpu %s, memory %s, GOMEMLIMIT %s, exposure %s at %s, %s\n",
		cfg.SidecarVersion(), cfg.Image, s.cpu.String(), s.memory.String(), s.goMemoryLimit(), cfg.Exposure, cfg.place(), user(c.SecurityContext))
}

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

package inject

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Explain says in a few lines, for people, what happens to a pod and why. It knows only the
// pod: it does not check whether the namespace is labelled.
func Explain(cfg Config, pod *Pod) string {
	decision := Decide(cfg, pod)
	var b strings.Builder
	fmt.Fprintf(&b, "pod %s: %s: %s\n", podName(pod), decision.Reason, decision.Reason.Sentence())
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	for _, w := range decision.Warnings {
		line("warning: %s", w)
	}
	for _, op := range decision.Patch {
		line("%s %s", op.Op, op.Path)
	}
	if !decision.Injected() {
		return b.String()
	}
	s, _ := sizeFor(cfg, pod)
	line("sidecar %s, image %s, exposure %s at %s, %s", cfg.SidecarVersion(), cfg.Image, cfg.Exposure, place(cfg), user(pod))
	line("requests cpu %s, memory %s; limits cpu %s, memory %s; GOMEMLIMIT %s",
		s.cpu.String(), s.memory.String(), s.cpuLimit.String(), s.memory.String(), s.goMemoryLimit())
	line("%s", explainRequest(pod, s))
	line("the node pulls the image with the pod's own pull secrets: %s", pullSecrets(pod))
	if name := pod.Spec.RuntimeClassName; name != nil && cfg.Exposure == Unix {
		line("the pod has the runtime class %s: if that is a virtual machine of its own (Kata), "+
			"no scrape reaches the sidecar's socket", quote(*name))
	}
	if isGuaranteed(pod) {
		line("the pod stays Guaranteed. Where the kubelet's memory manager is Static, a VM larger than a NUMA node starts beside a sidecar, " +
			"ours or KubeVirt's guest-console-log, only if the topology manager has the scope pod and the policy best-effort or restricted: " +
			"set both, or opt out")
	}
	line("not checked: the namespace's label, LimitRange, ResourceQuota and admission policies. "+
		"To opt out, put the annotation %s: \"false\" into the VM's spec.template.metadata", AnnotationInject)
	return b.String()
}

// place says where the sidecar listens.
func place(cfg Config) string {
	if cfg.Exposure == Direct {
		return fmt.Sprintf("port %d of the pod's address", cfg.Port)
	}
	return exposureDirectory + "/" + socketName
}

func user(pod *Pod) string {
	uid := securityContext(pod).RunAsUser
	if uid == nil {
		return "the image's own user (compute states none)"
	}
	return fmt.Sprintf("uid %d as compute", *uid)
}

func pullSecrets(pod *Pod) string {
	var names []string
	for _, secret := range pod.Spec.ImagePullSecrets {
		names = append(names, quote(secret.Name))
	}
	if names == nil {
		return "none, so a registry that requires one refuses it"
	}
	return strings.Join(names, ", ")
}

// explainRequest says what the node must have free for the pod as a whole, and how much of it
// is for the sidecar.
func explainRequest(pod *Pod, s size) string {
	if pod.Spec.Resources != nil {
		return "the pod as a whole requests no more: the sidecar fits into its own resources (spec.resources)"
	}
	cpu, memory := needed(pod, ofCPU, s.cpu), needed(pod, ofMemory, s.memory)
	text := fmt.Sprintf("a node must have cpu %s and memory %dMi free for the pod as a whole", cpu.String(), (memory.Value()+1<<20-1)>>20)
	cpu.Sub(needed(pod, ofCPU, resource.Quantity{}))
	memory.Sub(needed(pod, ofMemory, resource.Quantity{}))
	return fmt.Sprintf("%s, %s and %s of it for the sidecar", text, cpu.String(), memory.String())
}

// podName is the pod's namespace and name as far as it has them, escaped: it may come from a
// file that no one checked.
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

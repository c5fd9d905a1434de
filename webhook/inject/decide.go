package inject

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Decision is what becomes of one pod.
type Decision struct {
	// Reason is the outcome.
	Reason Reason
	// Warnings are sentences for whoever creates the pod, fit for an admission
	// response: ASCII, on one line each, at most 256 characters.
	Warnings []string
	// Patch is what to add to the pod; empty unless Reason is Injected.
	Patch []Operation
}

// Injected says whether the pod gets the sidecar.
func (d Decision) Injected() bool { return d.Reason == Injected }

// LeaveAlone is the decision to leave a pod as it is, with the reason's warning.
func LeaveAlone(reason Reason) Decision {
	return Decision{Reason: reason, Warnings: refusalWarnings(reason)}
}

// Decide reads a pod and says whether it gets the sidecar, and how. It changes
// nothing, does no I/O, and gives the same answer for the same input. It may be
// called from many goroutines, also with the same pod.
//
// The pod is only ever read: the patch is built from what we add, never as a
// difference to a re-marshalled pod, which would strip the fields that are
// newer than our types.
func Decide(cfg Config, pod *Pod) Decision {
	if reason := refuse(cfg, pod); reason != Injected {
		return LeaveAlone(reason)
	}
	size, warnings := sizeFor(cfg, pod)
	if reason := refuseSize(pod, size); reason != Injected {
		return LeaveAlone(reason)
	}
	patch, patchWarnings, fits := patchFor(cfg, pod, container(cfg, pod, size))
	if !fits {
		return LeaveAlone(AnnotationsFull)
	}
	warnings = slices.Concat(switchWarnings(pod), warnings, patchWarnings)
	return Decision{Reason: Injected, Warnings: warnings, Patch: patch}
}

// refuse finds the first reason to leave a pod as it is, from "this is none of
// our business" to "we would do harm"; Injected means that there is none.
//
//	label kubevirt.io=virt-launcher            no  → not_virt_launcher
//	annotation or label …/inject = "false"     yes → opted_out
//	annotation …/ephemeral-provisioning        yes → ephemeral_provisioning
//	init container of our name                 yes → already_injected
//	regular container of our name              yes → name_taken
//	container compute                          no  → no_compute
//	volume libvirt-runtime, mounted in compute no  → no_libvirt_runtime
//	controller reference to a VMI              no  → no_vmi
//	hostNetwork                                yes → host_network
//	every node it may get: our architecture    no  → architecture
//	our TCP port in another container (Direct) yes → port_taken
//	our volume or where it is mounted          yes → volume_taken
//	a pull secret the image needs              no  → no_pull_secret
//	any cpu or memory stated                   no  → best_effort
//	room in spec.resources (refuseSize)        no  → pod_level_resources
//	room for our annotation (patchFor)         no  → annotations_full
func refuse(cfg Config, pod *Pod) Reason {
	// Hotplug attachment pods carry another value of the label (KubeVirt
	// template.go), and the objectSelector only lets virt-launcher through.
	if pod.Labels[labelKubeVirt] != launcherLabelValue {
		return NotVirtLauncher
	}
	// A "no" counts wherever it stands: label and annotation may disagree.
	if pod.Annotations[AnnotationInject] == "false" || pod.Labels[AnnotationInject] == "false" {
		return OptedOut
	}
	if _, ok := pod.Annotations[annotationProvisioning]; ok {
		return EphemeralProvisioning
	}
	// An init container of our name is ours: this is what makes reinvocation
	// (reinvocationPolicy IfNeeded) and patched input harmless.
	if find(pod.Spec.InitContainers, ContainerName) != nil {
		return AlreadyInjected
	}
	// Names are unique over all containers of a pod (API server validation
	// validateInitContainers): ours would have the pod rejected.
	if find(pod.Spec.Containers, ContainerName) != nil {
		return NameTaken
	}
	compute := find(pod.Spec.Containers, computeContainer)
	if compute == nil {
		return NoCompute
	}
	if !hasLibvirtRuntime(pod, compute) {
		return NoLibvirtRuntime
	}
	if _, ok := vmiName(pod); !ok {
		return NoVMI
	}
	return refuseSurroundings(cfg, pod)
}

// refuseSurroundings finds what in a proper virt-launcher pod would turn the
// sidecar into harm.
func refuseSurroundings(cfg Config, pod *Pod) Reason {
	// With hostNetwork the API server sets hostPort to the container port
	// (defaults.go defaultHostNetworkPorts), of a port that is only declared, too:
	// the scheduler would then put one VM a node. With exposure Direct the port
	// would be open on the node.
	if pod.Spec.HostNetwork {
		return HostNetwork
	}
	// An image without the node's architecture cannot be pulled or run, and holds the VM.
	if !runsOnlyOn(cfg.Architectures, pod) {
		return Architecture
	}
	if cfg.Exposure == Direct && portTaken(cfg.Port, pod) {
		return PortTaken
	}
	if volumeTaken(pod) {
		return VolumeTaken
	}
	if len(cfg.PullSecrets) > 0 && !hasAnyPullSecret(cfg.PullSecrets, pod) {
		return NoPullSecret
	}
	if isBestEffort(pod) {
		return BestEffort
	}
	return Injected
}

func find(containers []Container, name string) *Container {
	for i := range containers {
		if containers[i].Name == name {
			return &containers[i]
		}
	}
	return nil
}

func hasLibvirtRuntime(pod *Pod, compute *Container) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v NamedObject) bool { return v.Name == libvirtVolume }) &&
		slices.ContainsFunc(compute.VolumeMounts, func(m VolumeMount) bool { return m.Name == libvirtVolume })
}

func hasAnyPullSecret(names []string, pod *Pod) bool {
	return slices.ContainsFunc(pod.Spec.ImagePullSecrets, func(r NamedObject) bool {
		return slices.Contains(names, r.Name)
	})
}

// portTaken says whether another container declares the sidecar's TCP port. The
// API server would admit the pod (it only warns), but all containers share one
// network namespace: the sidecar binds first, as an init container, and the
// other would fail and take the VM with it. Where the port is compute's it is
// the guest's, and a scrape would be answered by the guest.
func portTaken(port int32, pod *Pod) bool {
	return anyPort(pod, func(p ContainerPort) bool {
		return p.ContainerPort == port && (p.Protocol == string(corev1.ProtocolTCP) || p.Protocol == "")
	})
}

// volumeTaken says whether the pod has what the relay would take for the
// sidecar's. A second volume of the name would have the pod rejected; a container
// that mounts something at our place is perhaps a sidecar that somebody put there.
func volumeTaken(pod *Pod) bool {
	mounts := func(c Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m VolumeMount) bool { return path.Clean(m.MountPath) == exposureDirectory })
	}
	return slices.ContainsFunc(pod.Spec.Volumes, func(v NamedObject) bool { return v.Name == VolumeName }) ||
		slices.ContainsFunc(pod.Spec.Containers, mounts) || slices.ContainsFunc(pod.Spec.InitContainers, mounts)
}

func anyPort(pod *Pod, match func(ContainerPort) bool) bool {
	matches := func(c Container) bool { return slices.ContainsFunc(c.Ports, match) }
	return slices.ContainsFunc(pod.Spec.Containers, matches) || slices.ContainsFunc(pod.Spec.InitContainers, matches)
}

// switchWarnings tells of a value of the opt-out switch that we do not know. It
// counts as a yes: the namespace is labelled.
func switchWarnings(pod *Pod) []string {
	var warnings []string
	for _, source := range []struct {
		kind   string
		values map[string]string
	}{{"annotation", pod.Annotations}, {"label", pod.Labels}} {
		switch value, ok := source.values[AnnotationInject]; {
		case !ok, value == "true", value == "enabled":
		default:
			warnings = append(warnings, warning("%s %s=%s is not known and ignored: the sidecar is injected; \"false\" opts out", source.kind, AnnotationInject, quote(value)))
		}
	}
	return warnings
}

func refusalWarnings(r Reason) []string {
	if texts(r).expected {
		return nil
	}
	return []string{warning("not injected: %s", r.Sentence())}
}

// warning makes a sentence for an admission response, recognisable as ours.
func warning(format string, args ...any) string {
	return "hypervisor-exporter: " + fmt.Sprintf(format, args...)
}

// quote shows a foreign value: no control character, no quote and no template
// of it reaches a log, a terminal or an HTTP header unescaped. It is cut because
// the API server cuts warnings at 256 characters.
func quote(value string) string {
	const keep = 24
	if len(value) > keep {
		return fmt.Sprintf("%+q (cut)", value[:keep])
	}
	return fmt.Sprintf("%+q", value)
}

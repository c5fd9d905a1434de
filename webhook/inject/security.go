package inject

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// securityContext gives the sidecar who compute is and nothing of what compute
// may do. The libvirt socket lets in the uid of its owner alone (mode 0700), so
// uid and gid are compute's (107, or 0 in KubeVirt's legacy root mode) and never
// one of our own: where neither compute nor the pod states one, neither do we.
func securityContext(pod *Pod, compute *Container) *corev1.SecurityContext {
	ours, theirs := compute.SecurityContext, pod.Spec.SecurityContext
	if ours == nil {
		ours = &SecurityContext{}
	}
	if theirs == nil {
		theirs = &PodSecurityContext{}
	}
	no, yes := false, true
	return &corev1.SecurityContext{
		RunAsUser:    first(ours.RunAsUser, theirs.RunAsUser),
		RunAsGroup:   first(ours.RunAsGroup, theirs.RunAsGroup),
		RunAsNonRoot: first(ours.RunAsNonRoot, theirs.RunAsNonRoot),
		// On a migration target KubeVirt puts the source's MCS level on compute
		// alone (template.go setSELinuxContext); with another level the socket
		// is refused. The container's options replace the pod's as a whole (not
		// field by field), for compute as for us; the pod's are inherited.
		SELinuxOptions:           ours.SELinuxOptions.DeepCopy(),
		AppArmorProfile:          appArmorProfile(pod, ours),
		SeccompProfile:           seccompProfile(theirs),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
	}
}

// appArmorProfile is compute's, where compute has one of its own; the pod's is inherited. From Linux 6.17 on, AppArmor
// mediates Unix sockets between two profiles (containerd issue 12726), so that a sidecar in another profile than
// compute's may be refused the socket.
//
// The annotation is the form from before Kubernetes 1.30, which KubeVirt passes on from the VM. The API server makes a
// field of it for the container that it names, after all webhooks (registry/core/pod strategy.go,
// applyAppArmorVersionSkew, read in 1.36); for the sidecar we do. A value that is no profile is passed over, as there.
func appArmorProfile(pod *Pod, compute *SecurityContext) *corev1.AppArmorProfile {
	if compute.AppArmorProfile != nil {
		return compute.AppArmorProfile.DeepCopy()
	}
	value := pod.Annotations[annotationAppArmor]
	if name, local := strings.CutPrefix(value, corev1.DeprecatedAppArmorBetaProfileNamePrefix); local {
		if name == "" || name != strings.TrimSpace(name) || len(name) > longestAppArmor {
			return nil
		}
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	switch value {
	case corev1.DeprecatedAppArmorBetaProfileRuntimeDefault:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	case corev1.DeprecatedAppArmorBetaProfileNameUnconfined:
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}
	return nil
}

// longestAppArmor is the API server's bound of a profile's name in bytes (validation.go, ValidateAppArmorProfileField).
const longestAppArmor = 4095

// seccompProfile is RuntimeDefault where the pod states none. Compute's own is
// not looked at: it is made for QEMU, and a pod that only sets it on its
// containers passes Pod Security "restricted" only if each of them has one.
func seccompProfile(pod *PodSecurityContext) *corev1.SeccompProfile {
	if pod.SeccompProfile != nil {
		return nil
	}
	return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
}

// first is the value that is set, a copy of it: the container's before the pod's.
func first[T any](container, pod *T) *T {
	if container == nil {
		container = pod
	}
	if container == nil {
		return nil
	}
	value := *container
	return &value
}

package inject

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// container returns the sidecar of one pod: a native sidecar (an init container that restarts
// always, KEP-753), because KubeVirt waits for every regular container to be ready and for
// every one to end (controller.IsPodReady; kubevirt issues 9838, 5716), and never for init
// containers.
//
// An API server older than 1.29 would drop restartPolicy, and the VM would wait for the
// sidecar to end; KubeVirt 1.6 and later do not run on one.
//
// It has no probe: a native sidecar counts for the pod's Ready condition, and with masquerade
// the guest gets the kubelet's packets.
func container(cfg Config, pod *Pod, s size) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	c := corev1.Container{
		Name:            ContainerName,
		Image:           cfg.Image,
		ImagePullPolicy: cfg.ImagePullPolicy,
		RestartPolicy:   &always,
		Ports: []corev1.ContainerPort{{
			Name:          PortName,
			ContainerPort: cfg.Port,
			Protocol:      corev1.ProtocolTCP,
		}},
		Resources: s.resources(),
		VolumeMounts: []corev1.VolumeMount{
			// Read-only is enough to connect to a socket.
			{Name: libvirtVolume, MountPath: libvirtDirectory, ReadOnly: true},
			// Keeps the ServiceAccount's token out, which pods with automountServiceAccountToken
			// would get (a VM with a serviceAccount volume, Istio).
			{Name: VolumeName, MountPath: tokenDirectory, ReadOnly: true},
		},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          securityContext(pod),
	}
	if cfg.Exposure == Direct {
		// The brackets are right for both families: an IPv6 address needs them, and the sidecar
		// removes them before it reads the address. Never every address: with masquerade, one of
		// them is the guest's gateway.
		c.Args = []string{fmt.Sprintf("--listen-address=[$(POD_IP)]:%d", cfg.Port), "--bind-to-device"}
		c.Env = []corev1.EnvVar{fromField("POD_IP", "status.podIP")}
	} else {
		c.Args = []string{"--listen-address=unix://" + exposureDirectory + "/" + socketName}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: VolumeName, MountPath: exposureDirectory})
	}
	// The downward API gives the sidecar its identity: the kubelet fills it in, so nothing that a
	// user wrote passes through us. The VM's name comes from an annotation because labels and the
	// hostname are cut at 63 characters, and from ours because the VM's owner writes the others.
	c.Env = append(c.Env,
		fromField("VMI_NAMESPACE", "metadata.namespace"),
		fromField("VMI_NAME", "metadata.annotations['"+contract.AnnotationVMI+"']"),
		fromField("NODE_NAME", "spec.nodeName"),
		corev1.EnvVar{Name: "GOMAXPROCS", Value: "1"},
		corev1.EnvVar{Name: "GOMEMLIMIT", Value: s.goMemoryLimit()},
		corev1.EnvVar{Name: "GOGC", Value: fmt.Sprint(cfg.GOGC)},
	)
	return c
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

// volume returns the sidecar's own volume. It has no sizeLimit: the kubelet evicts a pod that
// exceeds one, and the VM with it. It is not in memory: the node's tmpfs would be mounted after
// the relay's view of the node was made, and counts as the pod's memory.
func volume() corev1.Volume {
	return corev1.Volume{Name: VolumeName, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// securityContext gives the sidecar compute's identity and none of its privileges. Only the
// libvirt socket's owner may connect (mode 0700), so uid and gid are compute's (107, or 0 in
// KubeVirt's legacy root mode) and never our own: where neither compute nor the pod states one,
// neither do we.
func securityContext(pod *Pod) *corev1.SecurityContext {
	compute, podWide := pod.compute().SecurityContext, pod.Spec.SecurityContext
	if compute == nil {
		compute = &SecurityContext{}
	}
	if podWide == nil {
		podWide = &PodSecurityContext{}
	}
	no, yes := false, true
	sc := &corev1.SecurityContext{
		RunAsUser:    first(compute.RunAsUser, podWide.RunAsUser),
		RunAsGroup:   first(compute.RunAsGroup, podWide.RunAsGroup),
		RunAsNonRoot: first(compute.RunAsNonRoot, podWide.RunAsNonRoot),
		// On a migration target KubeVirt puts the source's MCS level on compute alone (template.go,
		// setSELinuxContext); with another level the socket refuses us. The container's options
		// replace the pod's as a whole (not field by field), for compute as for us; the pod's are
		// inherited.
		SELinuxOptions:           compute.SELinuxOptions.DeepCopy(),
		AppArmorProfile:          appArmorProfile(pod, compute),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		AllowPrivilegeEscalation: &no,
		ReadOnlyRootFilesystem:   &yes,
	}
	// Compute's own seccomp profile does not count: it is made for QEMU, and a pod that sets it
	// only on its containers passes Pod Security "restricted" only if each of them has one.
	if podWide.SeccompProfile == nil {
		sc.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	return sc
}

// longestAppArmor is the API server's limit for a profile's name in bytes (validation.go,
// ValidateAppArmorProfileField).
const longestAppArmor = 4095

// appArmorProfile returns compute's profile, if compute has its own; the pod's is inherited. From
// Linux 6.17 on, AppArmor mediates Unix sockets between two profiles (containerd issue 12726), so
// the socket may refuse a sidecar in another profile than compute's.
//
// The annotation is the form from before Kubernetes 1.30, which KubeVirt copies from the VM. The
// API server makes a field of it for the container that it names, after all webhooks
// (registry/core/pod strategy.go, applyAppArmorVersionSkew, read in 1.36); for the sidecar we do.
// A value that is not a profile is ignored, as there.
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

// first returns a copy of the container's value, or of the pod's if the container has none.
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

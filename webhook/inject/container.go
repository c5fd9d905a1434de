package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// container is the sidecar of one pod: a native sidecar (an init container that
// restarts always, KEP-753), because KubeVirt waits for every regular container
// to be ready and for every one to end (controller.IsPodReady; kubevirt issues
// 9838, 5716), and for init containers never.
//
// An API server older than 1.29 would drop restartPolicy and the VM would wait
// for the sidecar to end; KubeVirt 1.6 and later do not run on one.
//
// It has no probe: a native sidecar counts for the pod's Ready condition, and
// with masquerade the guest gets the kubelet's packets.
func container(cfg Config, pod *Pod, s size) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	return corev1.Container{
		Name:            ContainerName,
		Image:           cfg.Image,
		ImagePullPolicy: cfg.ImagePullPolicy,
		RestartPolicy:   &always,
		Args:            cfg.Exposure.listen(cfg.Port),
		Env:             environment(cfg, s),
		Ports: []corev1.ContainerPort{{
			Name:          PortName,
			ContainerPort: cfg.Port,
			Protocol:      corev1.ProtocolTCP,
		}},
		Resources:                s.resources(),
		VolumeMounts:             mounts(cfg.Exposure),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          securityContext(pod, find(pod.Spec.Containers, computeContainer)),
	}
}

func mounts(e Exposure) []corev1.VolumeMount {
	mounts := []corev1.VolumeMount{
		// Read-only is enough to connect to a socket.
		{Name: libvirtVolume, MountPath: libvirtDirectory, ReadOnly: true},
		// Keeps the ServiceAccount's token out, which pods with automountServiceAccountToken
		// would get (a VM with a serviceAccount volume, Istio).
		{Name: VolumeName, MountPath: tokenDirectory, ReadOnly: true},
	}
	return append(mounts, e.mounts()...)
}

// volume is the sidecar's own. No sizeLimit: the kubelet evicts a pod that exceeds one, and
// the VM with it. Not in memory: the node's tmpfs would be mounted after the relay's view of
// the node was made, and counts as the pod's memory.
func volume() corev1.Volume {
	return corev1.Volume{Name: VolumeName, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// environment gives the sidecar its identity by the downward API: the kubelet
// fills it in, so that nothing of what a user wrote passes through us. The VM's
// name comes from an annotation because labels and the hostname are cut at 63
// characters, and from ours because the VM's owner writes the others.
func environment(cfg Config, s size) []corev1.EnvVar {
	return append(cfg.Exposure.environment(),
		fromField("VMI_NAMESPACE", "metadata.namespace"),
		fromField("VMI_NAME", "metadata.annotations['"+contract.AnnotationVMI+"']"),
		fromField("NODE_NAME", "spec.nodeName"),
		corev1.EnvVar{Name: "GOMAXPROCS", Value: "1"},
		corev1.EnvVar{Name: "GOMEMLIMIT", Value: s.goMemoryLimit()},
		corev1.EnvVar{Name: "GOGC", Value: fmt.Sprint(cfg.GOGC)},
	)
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path},
	}}
}

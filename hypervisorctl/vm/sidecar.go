package vm

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// SidecarState is the state of the exporter's container, as tables show it.
type SidecarState string

// The states.
const (
	// Absent: the pod has no such container.
	Absent SidecarState = "absent"
	// Starting: the kubelet has not started it yet, and reports no error.
	Starting SidecarState = "starting"
	// Up: it runs.
	Up SidecarState = "running"
	// Failing: it does not run, and the kubelet reports why.
	Failing SidecarState = "failing"
	// Ended: it ended, with its pod or before it.
	Ended SidecarState = "ended"
)

// Sidecar is the exporter's container in one pod.
type Sidecar struct {
	State SidecarState `json:"sidecar"`
	// Detail is the kubelet's reason if it does not run, such as ImagePullBackOff.
	Detail string `json:"sidecarDetail,omitempty"`
	// Version as the webhook wrote it on the pod; empty if it did not.
	Version string `json:"sidecarVersion,omitempty"`
	// Restarts since the pod started.
	Restarts int32 `json:"sidecarRestarts,omitempty"`
	// Socket: it listens on a unix socket in a volume of its own, which the node's relay reads.
	Socket bool `json:"-"`
}

func sidecarOf(pod *corev1.Pod) Sidecar {
	sidecar := Sidecar{State: Absent, Version: pod.Annotations[inject.AnnotationStatus]}
	at := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == inject.ContainerName })
	if at < 0 {
		return sidecar
	}
	// A read-only mount of the volume takes the place of a token; the socket's is the other one.
	sidecar.Socket = slices.ContainsFunc(pod.Spec.InitContainers[at].VolumeMounts, func(m corev1.VolumeMount) bool {
		return m.Name == inject.VolumeName && !m.ReadOnly
	})
	sidecar.State = Starting
	for i := range pod.Status.InitContainerStatuses {
		if status := &pod.Status.InitContainerStatuses[i]; status.Name == inject.ContainerName {
			sidecar.State, sidecar.Detail = stateOf(&status.State)
			sidecar.Restarts = status.RestartCount
		}
	}
	return sidecar
}

// stateOf reads a container's state as the kubelet reports it (kubelet_pods.go: a container also waits between two starts;
// PodInitializing is before its first).
func stateOf(state *corev1.ContainerState) (SidecarState, string) {
	switch {
	case state.Running != nil:
		return Up, ""
	case state.Terminated != nil:
		return Ended, state.Terminated.Reason
	case state.Waiting == nil, state.Waiting.Reason == "PodInitializing", state.Waiting.Reason == "ContainerCreating", state.Waiting.Reason == "":
		return Starting, ""
	default:
		return Failing, state.Waiting.Reason
	}
}

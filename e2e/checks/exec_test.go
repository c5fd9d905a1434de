package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// exec runs a command in a container's namespaces, and with its cgroups not. It does not go through the kubelet, which
// a check may have stopped.
func (w *world) exec(ctx context.Context, pod *corev1.Pod, container string, args ...string) (string, error) {
	pid, err := w.containerPID(ctx, pod, container)
	if err != nil {
		return "", err
	}
	return w.node.Run(ctx, append([]string{"nsenter", "-t", pid, "-m", "-p", "-n", "--"}, args...)...)
}

// virsh asks the libvirt of a VM's pod.
func (w *world) virsh(ctx context.Context, pod *corev1.Pod, args ...string) (string, error) {
	const uri = "qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock"
	return w.exec(ctx, pod, "compute", append([]string{"virsh", "-c", uri}, args...)...)
}

// containerPID is the container's first process as the node sees it.
func (w *world) containerPID(ctx context.Context, pod *corev1.Pod, container string) (string, error) {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.Name != container {
			continue
		}
		id := strings.TrimPrefix(status.ContainerID, "containerd://")
		output, err := w.node.Run(ctx, "ctr", "-n", "k8s.io", "tasks", "ls")
		if err != nil {
			return "", err
		}
		for line := range strings.Lines(output) {
			if fields := strings.Fields(line); len(fields) == 3 && fields[0] == id && fields[2] == "RUNNING" {
				return fields[1], nil
			}
		}
		return "", fmt.Errorf("%s of %s does not run", container, pod.Name)
	}
	return "", fmt.Errorf("no container %s in %s", container, pod.Name)
}

// processes are the container's, as the node numbers them, in the order in which they were started: the container's
// first, then what it has started.
func (w *world) processes(ctx context.Context, pod *corev1.Pod, container string) ([]string, error) {
	first, err := w.containerPID(ctx, pod, container)
	if err != nil {
		return nil, err
	}
	output, err := w.node.Run(ctx, "sh", "-c", fmt.Sprintf(`cat /sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%s/cgroup)/cgroup.procs`, first))
	if err != nil {
		return nil, err
	}
	pids := strings.Fields(output)
	slices.SortFunc(pids, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return slices.Concat([]string{first}, slices.DeleteFunc(pids, func(pid string) bool { return pid == first })), nil
}

func sidecarStatus(pod *corev1.Pod) corev1.ContainerStatus {
	for _, status := range pod.Status.InitContainerStatuses {
		if status.Name == sidecar {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Describe returns what a person needs to find out why something in a namespace does not work: the pods, each container's
// state, the ends of their logs, and the events. Where VMs are named, it is only those of theirs.
func (c *Client) Describe(ctx context.Context, namespace string, vms ...string) string {
	other := func(name string) bool {
		return len(vms) > 0 && !slices.ContainsFunc(vms, func(vm string) bool { return name == vm || strings.HasPrefix(name, "virt-launcher-"+vm+"-") })
	}
	var out strings.Builder
	pods, err := c.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Sprintf("list the pods of %s: %v", namespace, err)
	}
	for i := range pods.Items {
		if !other(pods.Items[i].Name) {
			c.describePod(ctx, &out, &pods.Items[i])
		}
	}
	events, err := c.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return out.String() + fmt.Sprintf("list events: %v\n", err)
	}
	events.Items = slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return other(e.InvolvedObject.Name) })
	slices.SortFunc(events.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	for _, e := range events.Items[max(0, len(events.Items)-30):] {
		fmt.Fprintf(&out, "event %s %s/%s %s: %s\n", e.LastTimestamp.Format("15:04:05"), e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return out.String()
}

func (c *Client) describePod(ctx context.Context, out *strings.Builder, pod *corev1.Pod) {
	fmt.Fprintf(out, "pod %s/%s on %s: %s %s, address %s\n", pod.Namespace, pod.Name, pod.Spec.NodeName, pod.Status.Phase, pod.Status.QOSClass, pod.Status.PodIP)
	for _, condition := range pod.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			fmt.Fprintf(out, "  %s=%s %s %s\n", condition.Type, condition.Status, condition.Reason, condition.Message)
		}
	}
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		fmt.Fprintf(out, "  container %s\n", ContainerState(status))
		lines := int64(8)
		log, err := c.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: status.Name, TailLines: &lines}).DoRaw(ctx)
		if err != nil {
			log = []byte(err.Error())
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(log)), "\n") {
			fmt.Fprintf(out, "    | %.300s\n", line)
		}
	}
}

// ContainerState returns a container's state in one line.
func ContainerState(s corev1.ContainerStatus) string {
	state := "waiting"
	switch {
	case s.State.Running != nil:
		state = "running"
	case s.State.Terminated != nil:
		state = fmt.Sprintf("terminated (%s, exit %d)", s.State.Terminated.Reason, s.State.Terminated.ExitCode)
	case s.State.Waiting != nil:
		state = fmt.Sprintf("waiting (%s: %s)", s.State.Waiting.Reason, s.State.Waiting.Message)
	}
	return fmt.Sprintf("%s: %s, ready %t, restarts %d", s.Name, state, s.Ready, s.RestartCount)
}

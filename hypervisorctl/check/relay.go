package check

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

const relaySection section = "relay"

// relayNodes returns the nodes with a ready relay, and those with one that is not ready.
func relayNodes(pods []corev1.Pod) (ready, unready map[string]bool) {
	ready, unready = map[string]bool{}, map[string]bool{}
	for i := range pods {
		pod := &pods[i]
		if pod.DeletionTimestamp == nil && isReady(pod) {
			ready[pod.Spec.NodeName] = true
		} else {
			unready[pod.Spec.NodeName] = true
		}
	}
	return ready, unready
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// relayLines judges whether each node with sidecars that listen on a socket has a relay. Needed counts those sidecars by
// node; spared are nodes that need no relay that works, and why.
func relayLines(pods []corev1.Pod, needed map[string]int, spared map[string]string) []Line {
	const s = relaySection
	ready, unready := relayNodes(pods)
	if len(pods) == 0 && len(needed) == 0 {
		return []Line{s.ok("no relay is installed, and no sidecar needs one")}
	}
	var without, broken []string
	for node := range needed {
		switch {
		case ready[node]:
		case unready[node]:
			broken = append(broken, node)
		default:
			without = append(without, node)
		}
	}
	var lines []Line
	if len(without) > 0 {
		line := s.fail("install the relay, or let its DaemonSet run there (taints): kubectl -n hypervisor-exporter-relay get daemonset hypervisor-exporter-relay",
			"nodes have sidecars that listen on a socket, and no relay: nothing scrapes them")
		line.Objects = sorted(without)
		lines = append(lines, line)
	}
	if len(broken) > 0 {
		line := s.fail("kubectl -n hypervisor-exporter-relay get pods -o wide -l app.kubernetes.io/component=relay", "the relay of these nodes is not ready")
		line.Objects = sorted(broken)
		lines = append(lines, line)
	}
	if idle := idleNodes(unready, ready, needed, spared); len(idle) > 0 {
		line := s.warn("kubectl -n hypervisor-exporter-relay get pods -o wide -l app.kubernetes.io/component=relay", "the relay of these nodes is not ready; no sidecar needs it yet")
		line.Objects = idle
		lines = append(lines, line)
	}
	switch {
	case len(lines) > 0:
		return lines
	case len(needed) == 0:
		return []Line{s.ok("no sidecar needs a relay yet (relays that are ready: %d)", len(ready))}
	default:
		return []Line{s.ok("each node with sidecars has a relay (nodes with sidecars: %d, relays that are ready: %d)", len(needed), len(ready))}
	}
}

func idleNodes(unready, ready map[string]bool, needed map[string]int, spared map[string]string) []string {
	var idle []string
	for node := range unready {
		if !ready[node] && needed[node] == 0 && spared[node] == "" {
			idle = append(idle, node)
		}
	}
	return sorted(idle)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

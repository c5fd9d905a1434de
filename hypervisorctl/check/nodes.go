package check

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// mostNodes is how many nodes and logs are read to explain relays that are not ready.
const mostNodes = 10

// aside says why a node needs no relay that works; empty if it needs one. Our images are for KubeVirt's three
// architectures (Makefile); nodes without a kubelet run no VM (manifests/relay/daemonset.yaml leaves out the same).
func aside(node *corev1.Node) string {
	architecture := node.Status.NodeInfo.Architecture
	unready := slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
	})
	switch {
	case node.Labels["type"] == "virtual-kubelet", node.Labels["eks.amazonaws.com/compute-type"] == "fargate",
		node.Labels["liqo.io/type"] == "virtual-node":
		return "virtual"
	case architecture != "" && !slices.Contains([]string{"amd64", "arm64", "s390x"}, architecture):
		return "architecture " + architecture
	case unready:
		return "node not ready"
	}
	return ""
}

// asides reads the nodes, and returns why each of those that need no relay needs none. A node that cannot be read needs one.
func (r *run) asides(ctx context.Context, nodes []string) map[string]string {
	found := map[string]string{}
	for _, name := range nodes[:min(len(nodes), mostNodes)] {
		if node, err := r.reader.Node(ctx, name); err == nil {
			if why := aside(node); why != "" {
				found[name] = why
			}
		}
	}
	return found
}

// folders reads the logs of relays that are not ready: a relay that was given the wrong folder of its kubelet says so.
func (r *run) folders(pods []corev1.Pod) []Line {
	const s = relaySection
	byFlag := map[string][]string{}
	read := 0
	for i := range pods {
		pod := &pods[i]
		if isReady(pod) || pod.Spec.NodeName == "" || pod.DeletionTimestamp != nil || read == mostNodes {
			continue
		}
		read++
		log, err := r.reader.RelayLog(r.ctx, pod)
		if err != nil {
			return []Line{s.unread("log of pod "+pod.Name, err)}
		}
		if flag := folderTrouble(log); flag != "" {
			byFlag[flag] = append(byFlag[flag], pod.Spec.NodeName)
		}
	}
	var lines []Line
	for _, flag := range slices.Sorted(maps.Keys(byFlag)) {
		line := s.fail("give the relay the folder pods below the kubelet's --root-dir: relay.kubeletPodsDir with Helm, docs/install.md (The kubelet's folder) with kustomize; the relay's log names it as far as it can tell",
			"the relay of these nodes does not find its own pod in %s, so it finds no VM", flag)
		line.Objects = sorted(byFlag[flag])
		lines = append(lines, line)
	}
	return lines
}

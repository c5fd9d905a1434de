package check

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// podsHint lists the relay's pods.
func (r *run) podsHint() string {
	return "kubectl -n " + r.request.Relay + " get pods -o wide -l app.kubernetes.io/component=relay"
}

// relaySet checks the relay's DaemonSet, if there is one.
func (r *run) relaySet() ([]Line, error) {
	set := r.parts.relay.object
	if set == nil {
		return nil, cmp.Or(r.parts.relay.err, r.relayErr)
	}
	var lines []Line
	var events []corev1.Event
	if set.Status.DesiredNumberScheduled > set.Status.CurrentNumberScheduled {
		err := r.reader.EachFailedCreate(r.ctx, set.Namespace, "DaemonSet", func(event *corev1.Event) { events = append(events, *event) })
		if err != nil {
			lines = append(lines, unread("events of DaemonSet "+cluster.Relay, err))
		}
	}
	return append(lines, refusedSet(set, events)...), nil
}

// relayPods checks whether each node with sidecars that listen on a socket has a relay.
func (r *run) relayPods() ([]Line, error) {
	found, err := r.population()
	if err != nil {
		return nil, nil // the step of the VMs reports it; without them, no one knows which nodes need a relay
	}
	if r.relayErr != nil {
		return nil, r.relayErr
	}
	var pods []corev1.Pod
	if r.request.Relay != "" {
		if pods, err = r.reader.Pods(r.ctx, r.request.Relay, cluster.RelaySelector); err != nil {
			return nil, err
		}
	}
	_, unready := relayNodes(pods)
	lines := r.folders(pods) // first: it is why a relay is not ready
	return append(lines, relayLines(pods, found.sockets, r.spared(slices.Sorted(maps.Keys(unready))), r.podsHint())...), nil
}

// relayCA checks the CA of the relay's certificate, where the certificate process publishes it. A relay whose own
// certificate has expired is not ready.
func (r *run) relayCA() ([]Line, error) {
	if r.parts.relay.object == nil || r.parts.certs.object == nil {
		return nil, nil
	}
	ca, err := r.reader.PublishedCA(r.ctx, r.request.Relay)
	if absent(err) {
		return []Line{fail("apply the manifests or the chart again: the certificate process writes the CA into the ConfigMap, and may not create it",
			"ConfigMap %s does not exist: Prometheus cannot trust the relay", cluster.RelayCA).see(pageCertificates)}, nil
	}
	if err != nil {
		return nil, err
	}
	what := "CA of the relay's certificate"
	end, err := lastCAEnds([]byte(ca))
	if err != nil {
		return []Line{fail(r.renewHint(), "%s: %s: Prometheus cannot trust the relay", what, err).see(pageCertificates)}, nil
	}
	return []Line{endLine(what, r.renewHint(), end, r.request.Now)}, nil
}

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

// because is the end of a sentence.
func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// relayLines judges the relay's pods. Needed counts the sidecars with a socket by node; spared are nodes that need no relay
// that works.
func relayLines(pods []corev1.Pod, needed map[string]int, spared map[string]bool, hint string) []Line {
	ready, unready := relayNodes(pods)
	if len(pods) == 0 && len(needed) == 0 {
		return []Line{ok("no relay is installed, and no sidecar needs one")}
	}
	var without, broken, idle []string
	for node := range needed {
		switch {
		case ready[node]:
		case unready[node]:
			broken = append(broken, node)
		default:
			without = append(without, node)
		}
	}
	for node := range unready {
		if !ready[node] && needed[node] == 0 && !spared[node] {
			idle = append(idle, node)
		}
	}
	var lines []Line
	if len(without) > 0 {
		lines = append(lines, fail("install the relay, or let it run there (taints, nodeSelector): kubectl get daemonset -A -l app.kubernetes.io/component=relay",
			"these nodes have sidecars and no relay: nothing scrapes them").about(without))
	}
	if len(broken) > 0 {
		lines = append(lines, fail(hint, "the relay of these nodes is not ready: nothing scrapes their sidecars%s", because(stuck(pods))).about(broken))
	}
	if len(idle) > 0 {
		lines = append(lines, warn(hint, "the relay of these nodes is not ready; no sidecar needs it yet%s", because(stuck(pods))).about(idle))
	}
	switch {
	case len(lines) > 0:
		return lines
	case len(needed) == 0:
		return []Line{ok("no sidecar needs a relay yet (ready relays: %d)", len(ready))}
	default:
		return []Line{ok("each node with sidecars has a ready relay (nodes with sidecars: %d, ready relays: %d)", len(needed), len(ready))}
	}
}

// mostNodes is how many nodes and logs are read to explain relays that are not ready.
const mostNodes = 10

// spared returns those of the nodes that need no relay that works. A node that cannot be read needs one.
func (r *run) spared(nodes []string) map[string]bool {
	found := map[string]bool{}
	for _, name := range nodes[:min(len(nodes), mostNodes)] {
		node, err := cluster.Get(r.ctx, r.reader.CoreV1().Nodes().Get, name)
		found[name] = err == nil && needsNoRelay(node)
	}
	return found
}

// needsNoRelay: our images are for KubeVirt's three architectures (Makefile), a virtual node runs no VM, and on a node that
// is not ready no pod is.
func needsNoRelay(node *corev1.Node) bool {
	architecture := node.Status.NodeInfo.Architecture
	return cluster.Virtual(node) || architecture != "" && !slices.Contains([]string{"amd64", "arm64", "s390x"}, architecture) ||
		slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue
		})
}

// folders reads the logs of relays that are not ready: they name a wrong folder of the kubelet.
func (r *run) folders(pods []corev1.Pod) []Line {
	byFlag := map[string][]string{}
	var starting []string
	read := 0
	for i := range pods {
		pod := &pods[i]
		if isReady(pod) || pod.Spec.NodeName == "" || pod.DeletionTimestamp != nil || read == mostNodes {
			continue
		}
		read++
		log, err := r.reader.RelayLog(r.ctx, pod)
		if apierrors.IsBadRequest(err) { // the kubelet's answer while the container is "waiting to start"
			starting = append(starting, pod.Spec.NodeName)
			continue
		}
		if err != nil {
			return []Line{unread("log of pod "+pod.Name, err)}
		}
		if flag := wrongFolder(log); flag != "" {
			byFlag[flag] = append(byFlag[flag], pod.Spec.NodeName)
		}
	}
	var lines []Line
	if len(starting) > 0 {
		lines = append(lines, warn(r.podsHint(), "the relay of these nodes has not started: its log was not checked").about(starting))
	}
	for _, flag := range slices.Sorted(maps.Keys(byFlag)) {
		lines = append(lines, fail("set the folder pods below the kubelet's --root-dir: relay.kubeletPodsDir with Helm, the DaemonSet's hostPath "+
			"with kustomize; the relay's log suggests one if it can",
			"the relay of these nodes finds no VM, because its own pod is not in %s", flag).see(pageFolder).about(byFlag[flag]))
	}
	return lines
}

// folderFlag is what the relay's message about its kubelet's folder begins with (relay/kubeletfolder.go).
const folderFlag = "--kubelet-pods-dir="

// wrongFolder returns the flag with the folder in which a relay does not find its pod, by its log; empty if it found it.
func wrongFolder(log []byte) string {
	lines := strings.Split(string(log), "\n")
	slices.Reverse(lines)
	for _, line := range lines {
		if strings.Contains(line, "the kubelet's folder of pods can be used now") {
			return ""
		}
		if _, text, found := strings.Cut(line, folderFlag); found && strings.Contains(line, "not ready") {
			if folder, _, whole := strings.Cut(text, " is not where "); whole {
				return vm.Brief(folderFlag + folder)
			}
		}
	}
	return ""
}

package checks

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// When the relay is killed, the kubelet restarts it, and each VM of the node misses one scrape at most.
func TestRelayKilled(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "relay-killed"}
	w.start(t, v)
	w.awaitTarget(t, v, "up")
	w.awaitReady(t, v)
	states, compute := w.watch(t, v), w.computeID(t, v)
	relay, err := w.relayPod(t.Context())
	require.NoError(t, err)
	before := relayStatus(relay)
	pid, err := w.containerPID(t.Context(), relay, "relay")
	require.NoError(t, err)
	killed := time.Now()
	_, err = w.node.Run(t.Context(), "kill", "-9", pid)
	require.NoError(t, err)
	eventually(t, time.Minute, "the relay to run again", func(ctx context.Context) error {
		relay, err := w.relayPod(ctx)
		if err == nil && (relayStatus(relay).RestartCount == before.RestartCount || !relayStatus(relay).Ready) {
			err = errors.New("not yet")
		}
		return err
	})
	t.Logf("the kubelet says that the relay is back and ready %.1f s after it was killed", time.Since(killed).Seconds())
	time.Sleep(4*scrapeInterval - time.Since(killed)) // four scrapes since
	up := w.scrapes(t, v, time.Since(killed))
	t.Logf("scrapes since it was killed: up %v", up)
	require.GreaterOrEqual(t, len(up), 2)
	require.LessOrEqual(t, missed(up), 1, "scrapes missed")
	require.True(t, up[len(up)-1])
	w.checkRelayAlert(t)
	w.requireUntouched(t, v, states, compute)
}

// checkRelayAlert freezes the relay, for less than the kubelet takes to restart it, and wants to be told.
func (w *world) checkRelayAlert(t *testing.T) {
	t.Helper()
	relay, err := w.relayPod(t.Context())
	require.NoError(t, err)
	pid, err := w.containerPID(t.Context(), relay, "relay")
	require.NoError(t, err)
	node := map[string]string{"node": relay.Spec.NodeName}
	_, err = w.node.Run(t.Context(), "kill", "-STOP", pid)
	require.NoError(t, err)
	w.awaitAlert(t, "HypervisorExporterRelayDown", node)
	_, err = w.node.Run(t.Context(), "kill", "-CONT", pid)
	require.NoError(t, err)
	w.awaitResolved(t, "HypervisorExporterRelayDown", node)
}

// requireUntouched fails unless VM and sidecar have gone on since states began, the pod ready all along.
func (w *world) requireUntouched(t *testing.T, v vm, states *history, compute string) {
	t.Helper()
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
	require.Contains(t, states.states(), "pod ready=True")
	require.NotContains(t, states.states(), "pod ready=False")
}

func relayStatus(pod *corev1.Pod) corev1.ContainerStatus {
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == "relay" {
			return status
		}
	}
	return corev1.ContainerStatus{}
}

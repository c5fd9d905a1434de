package checks

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// gateway is the pod's end of the link to the guest with the binding masquerade, in the family of the pod's address
// (KubeVirt's api.DefaultVMCIDR and DefaultVMIpv6CIDR), and nc's flag for that family.
func gateway(address corev1.PodIP) (gateway, family string) {
	if strings.Contains(address.IP, ":") {
		return "fd10:0:2::1", "-6"
	}
	return "10.0.2.1", "-4"
}

// The sidecar takes nothing of the VM's network: every port of its address is the guest's, the product's own numbers
// included; and the guest, which is trusted by nobody, reaches no listener of ours in its pod.
func checkGuest(t *testing.T, w *world) {
	v := vm{namespace: labelled, name: "guest", disk: "acpi", network: masqueradeAll}
	w.start(t, v)
	w.awaitGuests(t, []vm{v})
	w.awaitTarget(t, v, "up")
	pod := w.pod(t, v)
	for _, port := range []string{"80", "9477", "9478"} {
		answer, err := w.get(t.Context(), net.JoinHostPort(pod.Status.PodIP, port))
		require.NoError(t, err)
		require.Equal(t, "hello from the guest\n", answer, "port %s of the VM's address", port)
	}
	w.requireNoListener(t, pod)
	w.requireUnreached(t, pod)
	// As any pod may, it asks the relay at the node's address; without a token that is for nothing (TestAuthorization).
	t.Logf("the guest finds the relay on the node %s", w.reach(t, pod, pod.Status.HostIP, "9478"))
}

// requireUnreached fails where the pod's guest reaches a port of ours in its pod. That it would reach one is shown by a
// listener that is put there.
func (w *world) requireUnreached(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	for _, own := range pod.Status.PodIPs {
		gateway, _ := gateway(own)
		for _, address := range []string{gateway, own.IP} {
			for _, port := range []string{"9477", "9478"} {
				found := w.reach(t, pod, address, port)
				t.Logf("the guest finds port %s of %s %s", port, address, found)
				require.Contains(t, found, "closed", "port %s of %s from the guest", port, address)
			}
		}
	}
	for _, own := range pod.Status.PodIPs {
		w.requireGatewayReached(t, pod, own)
	}
}

// requireGatewayReached fails where the pod's guest does not reach a listener that is put into its pod.
func (w *world) requireGatewayReached(t *testing.T, pod *corev1.Pod, own corev1.PodIP) {
	t.Helper()
	gateway, family := gateway(own)
	pid, err := w.containerPID(t.Context(), pod, "compute")
	require.NoError(t, err)
	// Only the command's first process is killed with the test's context: the listener goes with it.
	listener := w.node.Command(t.Context(), "nsenter", "-t", pid, "-n", "setpriv", "--pdeathsig", "KILL", "nc", family, "-l", "-k", "-p", "9479")
	require.NoError(t, listener.Start())
	t.Cleanup(func() { _ = listener.Wait() })
	eventually(t, patience, "the guest to reach a listener in its pod", func(context.Context) error {
		if found := w.reach(t, pod, gateway, "9479"); found != "open" {
			return errors.New(found)
		}
		return nil
	})
}

// reach asks the pod's guest to connect to an address and gives what it said.
func (w *world) reach(t *testing.T, pod *corev1.Pod, address, port string) string {
	t.Helper()
	answer, err := w.get(t.Context(), net.JoinHostPort(pod.Status.PodIP, "80")+"/cgi-bin/reach?"+address+":"+port)
	require.NoError(t, err)
	require.Regexp(t, `^(open|closed: .*)\n$`, answer)
	return strings.TrimSpace(answer)
}

// get asks over HTTP from the node.
func (w *world) get(ctx context.Context, url string) (string, error) {
	return w.node.Run(ctx, "curl", "-sSf", "-m", "10", "http://"+url)
}

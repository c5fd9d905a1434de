package checks

import (
	"errors"
	"net"
	"strings"

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
// included; and the guest, which is not trusted, reaches no listener of ours in its pod.
func checkGuest(f *framework) {
	v := vm{namespace: labelled, name: "guest", disk: "acpi", network: masqueradeAll}
	f.start(v)
	f.awaitGuests(v)
	f.awaitTarget(v, "up")
	pod := f.pod(v)
	for _, port := range []string{"80", "9477", "9478"} {
		require.Equal(f.t, "hello from the guest\n", f.curl(net.JoinHostPort(pod.Status.PodIP, port)), "port %s of the VM's address", port)
	}
	f.requireNoListener(pod)
	f.requireUnreached(pod)
	// As any pod may, it sends requests to the relay at the node's address; without a token in vain (TestAuthorization).
	f.t.Logf("the guest finds the relay on the node %s", f.reach(pod, pod.Status.HostIP, "9478"))
}

// requireUnreached fails where the pod's guest reaches a port of ours in its pod. That it would reach one is shown by a
// listener that is put there.
func (f *framework) requireUnreached(pod *corev1.Pod) {
	for _, own := range pod.Status.PodIPs {
		gateway, family := gateway(own)
		for _, address := range []string{gateway, own.IP} {
			for _, port := range []string{"9477", "9478"} {
				require.Contains(f.t, f.reach(pod, address, port), "closed", "port %s of %s from the guest", port, address)
			}
		}
		// Only the command's first process is killed with the check's context: the listener goes with it.
		listener := f.node.Command(f.t.Context(), "nsenter", "-t", f.containerPID(pod, "compute"), "-n",
			"setpriv", "--pdeathsig", "KILL", "nc", family, "-l", "-k", "-p", "9479")
		f.must(listener.Start())
		f.t.Cleanup(func() { _ = listener.Wait() })
		f.eventually("the guest to reach a listener in its pod", func() error {
			if found := f.reach(pod, gateway, "9479"); found != "open" {
				return errors.New(found)
			}
			return nil
		})
	}
}

// reach has the pod's guest connect to an address, and returns what came of it.
func (f *framework) reach(pod *corev1.Pod, address, port string) string {
	answer := f.curl(net.JoinHostPort(pod.Status.PodIP, "80") + "/cgi-bin/reach?" + address + ":" + port)
	require.Regexp(f.t, `^(open|closed: .*)\n$`, answer)
	return strings.TrimSpace(answer)
}

// curl sends an HTTP request from the node.
func (f *framework) curl(url string) string { return f.run("curl", "-sSf", "-m", "60", "http://"+url) }

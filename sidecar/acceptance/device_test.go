package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestGuestReachesNoDirectListener: the pod's address is answered over the pod's
// device, and not over the bridge to the guest, for a sidecar without a capability.
// A listener on every address is the counter-proof that the guest's way is open.
func TestGuestReachesNoDirectListener(t *testing.T) {
	require.Zero(t, os.Getuid(), "run as root: network namespaces are made")
	node, pod, guest := netns(t, "node"), netns(t, "pod"), netns(t, "guest")
	wire(t, node, "eth0", "10.9.0.1/24", pod, "eth0", "10.9.0.2/24")
	wire(t, guest, "eth0", "10.0.2.2/24", pod, "k6t-eth0", "10.0.2.1/24")
	ip(t, "-n", guest, "route", "add", "default", "via", "10.0.2.1")

	startIn(t, pod, "--listen-address=:9478")
	startIn(t, pod, "--listen-address=[10.9.0.2]:9477", "--bind-to-device")
	testkit.Eventually(t, func() error { return get(node, "10.9.0.2:9477") })
	for _, address := range []string{"10.9.0.2:9478", "10.0.2.1:9478"} {
		testkit.Eventually(t, func() error { return get(guest, address) })
	}
	require.ErrorContains(t, get(guest, "10.9.0.2:9477"), "exit status 7", "curl: could not connect")
	require.ErrorContains(t, get(guest, "10.0.2.1:9477"), "exit status 7")
}

// netns makes a network namespace that goes with the test.
func netns(t *testing.T, name string) string {
	t.Helper()
	name = fmt.Sprintf("acc-%d-%s", os.Getpid(), name)
	ip(t, "netns", "add", name)
	t.Cleanup(func() { ip(t, "netns", "del", name) })
	ip(t, "-n", name, "link", "set", "lo", "up")
	return name
}

func wire(t *testing.T, a, deviceA, addressA, b, deviceB, addressB string) {
	t.Helper()
	ip(t, "-n", a, "link", "add", deviceA, "type", "veth", "peer", "name", deviceB, "netns", b)
	for _, end := range [][3]string{{a, deviceA, addressA}, {b, deviceB, addressB}} {
		ip(t, "-n", end[0], "addr", "add", end[2], "dev", end[1])
		ip(t, "-n", end[0], "link", "set", end[1], "up")
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(t, err, "ip %s (apt-get install iproute2): %s", strings.Join(args, " "), out)
}

// startIn runs a sidecar as KubeVirt's user and without a capability.
func startIn(t *testing.T, netns string, args ...string) {
	t.Helper()
	uid := fmt.Sprint(libvirttest.QEMUUser)
	cmd := exec.Command("ip", append([]string{"netns", "exec", netns, "setpriv", "--reuid=" + uid, "--regid=" + uid, "--clear-groups",
		"--no-new-privs", "--inh-caps=-all", plain, "--libvirt-socket=" + nowhere}, args...)...)
	process, err := testkit.Start(filepath.Join(t.TempDir(), "log"), cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		require.NotContains(t, process.Log(), "not bound to its device")
	})
}

// get asks for the metrics from within a namespace.
func get(netns, address string) error {
	out, err := exec.Command("ip", "netns", "exec", netns, "curl", "-sSf", "--max-time", "3", "http://"+address+"/metrics").CombinedOutput()
	if err == nil && !strings.Contains(string(out), "hypervisor_exporter_libvirt_up") {
		err = fmt.Errorf("%s: %s", http.StatusText(http.StatusNotFound), out)
	}
	if err != nil {
		return fmt.Errorf("%s from %s: %w: %s", address, netns, err, out)
	}
	return nil
}

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
)

// sidecarScript is the sidecar's container: the volume under a short path, and
// KubeVirt's uid of virt-launcher.
const sidecarScript = `set -eu
mount -t tmpfs tmpfs /run; mkdir /run/hypervisor-exporter; mount --bind "$1" /run/hypervisor-exporter
shift
exec setpriv --reuid=107 --regid=107 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs "$@"`

// startSidecar starts the real sidecar in the pod.
func startSidecar(t *testing.T, pod podtest.Pod, args ...string) *testkit.Process {
	t.Helper()
	return startSidecarIn(t, pod, nil, args...)
}

// startSidecarIn starts it behind a command that enters its network.
func startSidecarIn(t *testing.T, pod podtest.Pod, enter []string, args ...string) *testkit.Process {
	t.Helper()
	command := append(enter, "unshare", "--mount", "sh", "-c", sidecarScript, "sh", pod.Volume, sidecarBinary,
		"--listen-address=unix:///run/hypervisor-exporter/metrics.sock", "--libvirt-socket=/nowhere")
	command = append(command, args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "VMI_NAMESPACE=shop", "VMI_NAME=web", "NODE_NAME=node-1"}
	process, err := testkit.Start(filepath.Join(t.TempDir(), "sidecar.log"), cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Logf("log of the sidecar of %s:\n%s", pod.UID, process.LogTail())
		}
	})
	return process
}

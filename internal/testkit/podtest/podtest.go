// Package podtest makes a kubelet's folder of pods for tests, with sockets in the
// pods' volumes on which real servers listen, as net/http/httptest makes servers.
package podtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// A Kubelet is a folder like /var/lib/kubelet/pods.
type Kubelet struct{ Dir string }

// A Pod is a pod's folder with the volume in it.
type Pod struct {
	UID podsocket.UID
	// Root is the kubelet's folder of the pod.
	Root string
	// Volume is the emptyDir with the sidecar's socket.
	Volume string
}

// AddPod makes a pod with a uid of its own and an empty volume, with the owners and
// modes that the kubelet gives them (pkg/kubelet kubelet_getters.go, emptydir).
func (k Kubelet) AddPod() (Pod, error) {
	uid := podsocket.UID(uuid.NewString())
	root := filepath.Join(k.Dir, string(uid))
	pod := Pod{UID: uid, Root: root, Volume: filepath.Join(root, "volumes/kubernetes.io~empty-dir/hypervisor-exporter")}
	if err := os.MkdirAll(pod.Volume, 0o750); err != nil {
		return pod, fmt.Errorf("make a pod: %w", err)
	}
	return pod, os.Chmod(pod.Volume, 0o777)
}

// Path is that of a file in the volume.
func (p Pod) Path(name string) string { return filepath.Join(p.Volume, name) }

// Socket is the path of the sidecar's socket.
func (p Pod) Socket() string { return p.Path("metrics.sock") }

// Listen listens on the pod's socket, with the mode that the sidecar gives it.
func (p Pod) Listen() (*net.UnixListener, error) { return Listen(p.Socket()) }

// Listen listens on a Unix socket whose path may be longer than the 108 bytes of
// unix(7): the sidecar sees its volume under a short path, a test does not. The
// file stays when the listener is closed.
func Listen(path string) (*net.UnixListener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	return listener, os.Chmod(path, 0o666)
}

package podsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

// inPod is where the webhook's emptyDir and the sidecar's socket in it lie below
// the kubelet's folder of a pod.
const inPod = "volumes/kubernetes.io~empty-dir/hypervisor-exporter/metrics.sock"

// What may come of looking for a pod's socket. Other errors say that it is there
// and cannot be used.
var (
	// ErrNode says that the kubelet's folder itself cannot be opened.
	ErrNode = errors.New("the kubelet's folder of pods cannot be opened")
	// ErrGone says that there is no such pod on this node, or no socket in it.
	ErrGone = errors.New("no such pod on this node, or no socket in it")
	// ErrForeign says that something other than a socket of the pod's own lies there.
	ErrForeign = errors.New("not a socket of the pod's own")
	// ErrRefused says that nobody listens on the socket, or not fast enough.
	ErrRefused = errors.New("nobody takes connections on the pod's socket")
)

// Pods finds sockets below a folder of the kubelet's. Its methods may be called
// concurrently.
type Pods struct {
	dir    string
	open   opener
	denied error
}

// New takes the kubelet's folder of pods, usually /var/lib/kubelet/pods. It need
// not be there yet.
func New(dir string) *Pods {
	if err := usable(openat2); err != nil {
		return &Pods{dir: dir, open: walk, denied: err}
	}
	return &Pods{dir: dir, open: openat2}
}

// Denied says why openat2 is not used: nil where it is. The way that is taken
// instead is as safe, at three more calls.
func (p *Pods) Denied() error { return p.denied }

// Check is nil when the kubelet's folder can be opened, and ErrNode otherwise.
func (p *Pods) Check() error {
	dir, err := p.openDir()
	if err != nil {
		return err
	}
	return unix.Close(dir)
}

// Holds is nil where the kubelet's folder holds the pod, ErrGone where it holds
// none, and ErrNode where it cannot be opened.
func (p *Pods) Holds(uid UID) error {
	dir, err := p.openDir()
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := p.open(dir, string(uid))
	if err != nil {
		return classify(err)
	}
	return unix.Close(fd)
}

// Dial connects to the pod's socket. It opens nothing outside the pod's volume,
// and in there nothing but a socket.
func (p *Pods) Dial(ctx context.Context, uid UID) (net.Conn, error) {
	socket, err := p.Open(uid)
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	return socket.Connect(ctx)
}

// Open finds the pod's socket. The caller must close it. A file with more than one
// name is refused: it may have come by link(2) from another volume.
func (p *Pods) Open(uid UID) (*Socket, error) {
	dir, err := p.openDir()
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := p.open(dir, string(uid)+"/"+inPod)
	if err != nil {
		return nil, classify(err)
	}
	socket := &Socket{fd: fd}
	if err := socket.check(); err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}

func (p *Pods) openDir() (int, error) {
	dir, err := retry(func() (int, error) {
		return unix.Open(p.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, fmt.Errorf("%w: %w", ErrNode, &fs.PathError{Op: "open", Path: p.dir, Err: err})
	}
	return dir, nil
}

// classify says what the failure to find a file means.
func classify(err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return ErrGone
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w: a link, or a file where a folder should be: %w", ErrForeign, err)
	default:
		return fmt.Errorf("find the pod's socket: %w", err)
	}
}

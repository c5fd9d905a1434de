// Package podsocket turns a pod's uid into a connection to the Unix socket that
// the pod's sidecar listens on, in an emptyDir below the kubelet's folder.
//
// What is in that emptyDir is the tenant's to choose, and may change at any
// moment. So nothing there is opened for reading or writing, no link is followed,
// and what was found is what is connected to: see [Pods.Open].
package podsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// A UID is a pod's uid in canonical form: 36 characters of lower-case hexadecimal
// digits and dashes. It is safe as a name of a file.
type UID string

// ParseUID takes the canonical form only. The kubelet names no folder by
// another spelling of a UUID (upper case, braces, urn:, no dashes).
func ParseUID(text string) (UID, error) {
	parsed, err := uuid.Parse(text)
	if err != nil || parsed.String() != text {
		return "", fmt.Errorf("%.40q is not a pod uid: it must be a UUID in lower case with dashes", text)
	}
	return UID(text), nil
}

// inPod is the path of the sidecar's socket, in the webhook's emptyDir, below
// the kubelet's folder of a pod.
const inPod = "volumes/kubernetes.io~empty-dir/hypervisor-exporter/metrics.sock"

// The errors of finding and connecting to a pod's socket. Any other error means that it is there
// and cannot be used.
var (
	// ErrNode: the kubelet's folder itself cannot be opened.
	ErrNode = errors.New("the kubelet's folder of pods cannot be opened")
	// ErrGone: there is no such pod on this node, or no socket in it.
	ErrGone = errors.New("no such pod on this node, or no socket in it")
	// ErrForeign: something other than a socket of the pod's own is there.
	ErrForeign = errors.New("not a socket of the pod's own")
	// ErrRefused: nothing listens on the socket, or not fast enough.
	ErrRefused = errors.New("nothing accepts connections on the pod's socket")
)

// Pods finds sockets below the kubelet's folder. Its methods may be called
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

// Denied returns why openat2 is not used, or nil if it is. What is used
// instead is as safe, with three more calls.
func (p *Pods) Denied() error { return p.denied }

// Check returns nil if the kubelet's folder can be opened, and ErrNode otherwise.
func (p *Pods) Check() error {
	dir, err := p.openDir()
	if err != nil {
		return err
	}
	return unix.Close(dir)
}

// Holds returns nil if the kubelet's folder holds the pod, ErrGone if it does
// not, and ErrNode if the folder cannot be opened.
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

// classify returns the package's error for a failure to find a file.
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

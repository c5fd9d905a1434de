package podsocket

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Socket is a socket file that was found. It stays the same file, whatever gets
// its name afterwards.
type Socket struct{ fd int }

// Close forgets the file. Connections made before stay.
func (s *Socket) Close() { _ = unix.Close(s.fd) }

func (s *Socket) check() error {
	var stat unix.Stat_t
	if err := unix.Fstat(s.fd, &stat); err != nil {
		return fmt.Errorf("stat the pod's socket: %w", err)
	}
	if kind := stat.Mode & unix.S_IFMT; kind != unix.S_IFSOCK {
		return fmt.Errorf("%w: %s", ErrForeign, kindName(kind))
	}
	if stat.Nlink != 1 {
		return fmt.Errorf("%w: the file has %d names, not one", ErrForeign, stat.Nlink)
	}
	return nil
}

// Connect connects to the process that listens on the file. It does not wait for a listener
// whose queue is full. The path through /proc leads to the file that was found, not
// to what has its name now (proc_pid_fd(5)).
func (s *Socket) Connect(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(s.fd))
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%w: %w", ErrRefused, cause(err))
	default:
		return nil, fmt.Errorf("connect to the pod's socket: %w", cause(err))
	}
}

// cause leaves out the path, which is only a descriptor's number.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func kindName(kind uint32) string {
	switch kind {
	case unix.S_IFLNK:
		return "a symbolic link"
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFREG:
		return "a regular file"
	case unix.S_IFDIR:
		return "a directory"
	default:
		return "a device"
	}
}

// Package rawio makes system calls without telling Go's scheduler of each. An
// ordinary call wakes up the runtime's watchdog (sysmon), if it sleeps, in case the
// call should last; the watchdog then looks every 20 µs for as long as the process
// has work, and where it finds a call under way, hands the rest of the work to
// another thread (runtime/proc.go: entersyscall, sysmon, retake). At one scrape every
// 60 ms each scrape begins with a watchdog asleep: that took a tenth of its cost.
//
// So only what does not last may be called so: sockets that do not block, where a
// goroutine waits in the netpoller as all do, and looks at folders that are in the
// kernel's memory.
package rawio

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Conn is a connection over a stream socket. Deadlines and Close are its net.Conn's.
type Conn struct {
	net.Conn
	raw syscall.RawConn
}

// New takes a connection that is one socket, as *net.TCPConn and *net.UnixConn are.
func New(conn interface {
	net.Conn
	syscall.Conn
}) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn, raw: raw}, nil
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := transfer("read", unix.SYS_READ, c.raw.Read, p)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (written int, err error) {
	for written < len(p) && err == nil {
		var n int
		n, err = transfer("write", unix.SYS_WRITE, c.raw.Write, p[written:])
		written += n
	}
	return written, err
}

// transfer makes the system call each time that ready finds the socket ready. The
// buffer must not be empty.
func transfer(name string, number uintptr, ready func(func(fd uintptr) bool) error, p []byte) (int, error) {
	var n uintptr
	var errno syscall.Errno
	err := ready(func(fd uintptr) bool {
		for {
			n, _, errno = syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
			if errno != unix.EINTR {
				return errno != unix.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case errno != 0:
		return 0, os.NewSyscallError(name, errno)
	default:
		return int(n), nil
	}
}

// A Listener's connections are Conns.
type Listener struct{ *net.TCPListener }

// Accept implements net.Listener.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	raw, err := New(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return raw, nil
}

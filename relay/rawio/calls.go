package rawio

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Openat is unix.Openat without a mode: it creates nothing. Where the disk has to be
// read for it, the whole process waits.
func Openat(dir int, path string, flags int) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	return descriptor(unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(flags), 0, 0, 0))
}

// Openat2 is unix.Openat2, and may wait as Openat does.
func Openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	return descriptor(unix.RawSyscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(how)), unsafe.Sizeof(*how), 0, 0))
}

// Fstat is unix.Fstat.
func Fstat(fd int, stat *unix.Stat_t) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_FSTAT, uintptr(fd), uintptr(unsafe.Pointer(stat)), 0); errno != 0 {
		return errno
	}
	return nil
}

// Close is unix.Close of what has nothing to write: it cannot fail but for a
// descriptor that is none.
func Close(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// DialUnix connects to a Unix stream socket. It does not wait: where the listener's
// queue is full, the error is EAGAIN.
func DialUnix(path string) (*Conn, error) {
	address := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
	if len(path) >= len(address.Path) {
		return nil, unix.ENAMETOOLONG
	}
	for i := range len(path) {
		address.Path[i] = int8(path[i])
	}
	fd, err := descriptor(unix.RawSyscall(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0))
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&address)), unsafe.Sizeof(address)); errno != 0 {
		Close(fd)
		return nil, os.NewSyscallError("connect", errno)
	}
	return New(file{os.NewFile(uintptr(fd), path)})
}

func descriptor(fd, _ uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// A file is a net.Conn by its descriptor. net.FileConn would make a second one.
type file struct{ *os.File }

// LocalAddr implements net.Conn: it has no name.
func (file) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr implements net.Conn.
func (f file) RemoteAddr() net.Addr { return &net.UnixAddr{Name: f.Name(), Net: "unix"} }

package exposition

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindToDevice needs no capability since Linux 5.7, as long as the socket is bound
// to no device yet (net/core/sock.c, sock_bindtoindex).
func bindToDevice(conn syscall.RawConn, device string) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.BindToDevice(int(fd), device)
	})
	return errors.Join(err, failed)
}

package exposition

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// unixPrefix marks the path of a Unix socket among the listen addresses.
const unixPrefix = "unix://"

// CheckAddress returns an error for an address that Listen could never open.
func CheckAddress(address string) error {
	if path, isUnix := strings.CutPrefix(address, unixPrefix); isUnix {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%s: the path of a Unix socket must begin with /, as in unix:///run/metrics.sock", address)
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("neither host:port nor unix:///path: %w", err)
	}
	return nil
}

// Listen opens the address: host:port (see listenTCP), or unix:///path. A Unix
// socket is open to every user (mode 0666), since the metrics are not secret
// and the relay has another uid; a socket file without a listener is replaced, any other
// file is left alone.
func Listen(address string, toDevice bool, logger *slog.Logger) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	if !isUnix {
		return listenTCP(address, toDevice, logger)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(fmt.Errorf("open the socket to every user: %w", err), listener.Close())
	}
	return listener, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is in the way and is not a socket: remove it", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(fmt.Errorf("%s is in use by another process", path), conn.Close())
	}
	return os.Remove(path)
}

// DialAddress returns network and address to dial for a listen address: a host that
// means every interface is reached over loopback.
func DialAddress(listen string) (network, address string) {
	if path, isUnix := strings.CutPrefix(listen, unixPrefix); isUnix {
		return "unix", path
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "tcp", listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "tcp", net.JoinHostPort(host, port)
}

package exposition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// listenTCP opens host:port. With toDevice it takes connections only over the
// device that holds the address: Linux else also accepts what comes in for that
// address over another, such as the bridge to the guest (the weak host model of
// RFC 1122, 3.3.4.2). If that cannot be set it listens nevertheless, and logs a warning.
func listenTCP(address string, toDevice bool, logger *slog.Logger) (net.Listener, error) {
	if strings.HasPrefix(address, "[]:") {
		// Such a listener would be open on every address, the guest's gateway among them.
		return nil, errors.New("no address between the brackets: the pod has none")
	}
	var config net.ListenConfig
	var unbound error
	if toDevice {
		device, err := deviceOf(address)
		if err != nil {
			return nil, err
		}
		config.Control = func(_, _ string, conn syscall.RawConn) error {
			unbound = bindToDevice(conn, device)
			return nil
		}
	}
	listener, err := config.Listen(context.Background(), "tcp", address)
	if err == nil && unbound != nil {
		logger.Warn("the listener is not bound to its device: what comes in over others for its address is answered, too", "address", address, "err", unbound)
	}
	return listener, err
}

// deviceOf is the name of the device that holds the address's host.
func deviceOf(address string) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	wanted, err := netip.ParseAddr(host)
	if err != nil || wanted.IsUnspecified() {
		return "", fmt.Errorf("%q is not an address that a device could hold", host)
	}
	devices, err := net.Interfaces()
	if err != nil {
		return "", fmt.Errorf("list the network devices: %w", err)
	}
	for _, device := range devices {
		addresses, err := device.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, one := range addresses {
			if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr() == wanted.Unmap() {
				return device.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no network device holds %s (any more, or yet)", host)
}

package libvirttest

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

// callsPerClient is how many calls libvirt takes from one client at a time
// (max_client_requests in libvirtd.conf).
const callsPerClient = 5

// Occupation is a number of calls that wait in a QEMU's monitor.
type Occupation struct {
	conns []net.Conn
	calls sync.WaitGroup
}

// Occupy makes calls that need the domain's QEMU, and makes each again that libvirt
// abandons, until Close. With a QEMU that is stopped each of them holds one of libvirt's
// workers, of which there are 20.
func (d *Domain) Occupy(calls int) (*Occupation, error) {
	o := &Occupation{}
	for ; calls > 0; calls -= callsPerClient {
		if err := o.add(d, min(calls, callsPerClient)); err != nil {
			o.Close()
			return nil, err
		}
	}
	return o, nil
}

func (o *Occupation) add(d *Domain, calls int) error {
	conn, err := net.Dial("unix", d.daemon.Socket())
	if err != nil {
		return fmt.Errorf("occupy libvirt: %w", err)
	}
	o.conns = append(o.conns, conn)
	l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	if err := l.ConnectToURI("qemu:///session"); err != nil {
		return fmt.Errorf("occupy libvirt: %w", err)
	}
	domain, err := l.DomainLookupByName(d.name)
	if err != nil {
		return fmt.Errorf("occupy libvirt: %w", err)
	}
	for range calls {
		o.calls.Go(func() {
			for {
				_, err := l.QEMUDomainMonitorCommand(domain, `{"execute":"query-status"}`, 0)
				var refusal libvirt.Error
				if err != nil && !errors.As(err, &refusal) {
					return // the connection has ended
				}
			}
		})
	}
	return nil
}

// Close ends the calls; libvirt may wait for QEMU for longer. It may be called again.
func (o *Occupation) Close() {
	for _, conn := range o.conns {
		_ = conn.Close()
	}
	o.calls.Wait()
}

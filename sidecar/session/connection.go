package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// closeTimeout bounds each step of closing the connection; the sidecar has a second to
// end.
const closeTimeout = 300 * time.Millisecond

// A connection is one open, read-only connection to libvirt with lifecycle
// events on. One goroutine uses it; each of its waits is bounded by timeout.
type connection struct {
	guard   *guard
	virt    *libvirt.Libvirt
	timeout time.Duration
	asking  sync.WaitGroup
}

// open takes conn over; it is closed when open fails. A go-libvirt object is
// used for one connection only: it does not survive a second.
func open(ctx context.Context, conn net.Conn, uri string, timeout time.Duration) (*connection, error) {
	g := newGuard(conn)
	c := &connection{guard: g, virt: libvirt.NewWithDialer(dialers.NewAlreadyConnected(g)), timeout: timeout}
	err := c.call(ctx, "open "+uri, func() error { return c.virt.ConnectToURI(libvirt.ConnectURI(uri)) })
	close(g.opened)
	if err == nil {
		err = c.call(ctx, "register for lifecycle events", func() error {
			_, err := c.virt.ConnectDomainEventCallbackRegisterAny(int32(libvirt.DomainEventIDLifecycle), nil)
			return err
		})
	}
	if err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// call runs one RPC. go-libvirt's calls wait for ever and take no context, so the
// connection is closed when the time is up: that ends the call, and the connection with it.
func (c *connection) call(ctx context.Context, what string, rpc func() error) error {
	defer c.deadline(ctx)()
	err := rpc()
	if err == nil {
		return nil
	}
	if broken := c.guard.Err(); broken != nil && !isRefusal(err) {
		err = broken // go-libvirt reports only that it was interrupted
	}
	return fmt.Errorf("%s: %w", what, err)
}

// deadline ends the connection when the timeout is over, unless stop is called before.
// An answer may have to wait until the XML before it is read, which takes seconds with a
// tenth of a CPU: that time is not libvirt's. When the context ends there is little time
// left, but enough for a libvirt that answers, so that the connection can be closed well.
func (c *connection) deadline(ctx context.Context) (stop func()) {
	var stopped atomic.Bool
	var timer *time.Timer
	timer = time.AfterFunc(time.Hour, func() {
		switch {
		case stopped.Load():
		case ctx.Err() == nil && c.guard.ReadsXML():
			timer.Reset(c.timeout)
		default:
			c.guard.Fail(fmt.Errorf("libvirt did not answer within %v", c.timeout))
		}
	})
	timer.Reset(c.timeout)
	hurry := context.AfterFunc(ctx, func() { timer.Reset(closeTimeout) })
	return func() {
		stopped.Store(true)
		hurry()
		timer.Stop()
	}
}

// isRefusal reports whether err is libvirt's own answer "no", not the end of a connection.
func isRefusal(err error) bool {
	var refusal libvirt.Error
	return errors.As(err, &refusal)
}

// observe returns the state of the domain of the given name, or of every domain if none
// has it; a domain that vanishes meanwhile is left out. Of more than maxLooks domains
// without that name it returns only the names.
func (c *connection) observe(ctx context.Context, name string) ([]libvirt.Domain, []hypervisor.State, error) {
	listed, err := c.list(ctx, name)
	if err != nil || len(listed) > maxLooks {
		return listed, make([]hypervisor.State, len(listed)), err
	}
	var domains []libvirt.Domain
	var states []hypervisor.State
	for _, domain := range listed {
		state, err := c.state(ctx, domain)
		switch {
		case libvirt.IsNotFound(err):
		case err != nil:
			return nil, nil, err
		default:
			domains, states = append(domains, domain), append(states, state)
		}
	}
	return domains, states, nil
}

func (c *connection) list(ctx context.Context, name string) (domains []libvirt.Domain, err error) {
	err = c.call(ctx, "list domains", func() error {
		domains, _, err = c.virt.ConnectListAllDomains(1, 0)
		return err
	})
	if i := slices.IndexFunc(domains, func(d libvirt.Domain) bool { return d.Name == name }); i >= 0 {
		domains = domains[i : i+1]
	}
	return domains, err
}

func (c *connection) state(ctx context.Context, domain libvirt.Domain) (s hypervisor.State, err error) {
	err = c.call(ctx, "get the domain's state", func() error {
		state, reason, err := c.virt.DomainGetState(domain, 0)
		s = hypervisor.State{State: libvirt.DomainState(state), Reason: reason}
		return err
	})
	return s, err
}

// control asks how QEMU's monitor is, which asks libvirt alone; nil if libvirt refuses to say or has a word of its own.
func (c *connection) control(ctx context.Context, domain libvirt.Domain) (control *hypervisor.Control, err error) {
	err = c.call(ctx, "get the state of QEMU's monitor", func() error {
		state, _, milliseconds, err := c.virt.DomainGetControlInfo(domain, 0)
		lasted := time.Duration(min(milliseconds, maxLasted)) * time.Millisecond
		if err == nil && state < uint32(hypervisor.ControlStates) {
			control = &hypervisor.Control{State: hypervisor.ControlState(state), Lasted: lasted}
		}
		return err
	})
	if isRefusal(err) {
		return nil, nil //nolint:nilnil // as documented
	}
	return control, err
}

// libVersion asks for libvirt's version.
func (c *connection) libVersion(ctx context.Context) (version string, err error) {
	err = c.call(ctx, "get libvirt's version", func() error {
		version, err = ask(c.virt.ConnectGetLibVersion)
		return err
	})
	return version, err
}

// askHypervisorVersion asks without a deadline: the first time that libvirt hears
// the question it probes every emulator on its disk, which was seen to take from
// 3 to 80 seconds, in one of its 5 workers of high priority. The answer is sent once,
// if it comes before the connection ends.
func (c *connection) askHypervisorVersion() <-chan string {
	answer := make(chan string, 1)
	c.asking.Go(func() {
		if version, err := ask(c.virt.ConnectGetVersion); err == nil {
			answer <- version
		}
	})
	return answer
}

// ask leaves the version empty if libvirt has none (no emulator for the host's
// architecture, say); an error means that the connection has ended.
func ask(rpc func() (uint64, error)) (string, error) {
	number, err := rpc()
	if isRefusal(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return dotted(number), nil
}

// dotted writes a version as people do; libvirt packs it as major × 1,000,000 +
// minor × 1,000 + release (virConnectGetVersion).
func dotted(version uint64) string {
	return fmt.Sprintf("%d.%d.%d", version/1_000_000, version/1_000%1_000, version%1_000)
}

// alive pings libvirt below the level of calls, which costs its workers nothing.
func (c *connection) alive(ctx context.Context) error {
	if err := c.guard.Ping(); err != nil {
		return fmt.Errorf("ping libvirt: %w", err)
	}
	defer c.deadline(ctx)()
	select {
	case <-c.guard.pongs:
		return nil
	case <-c.guard.done:
		return fmt.Errorf("ping libvirt: %w", c.guard.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close sends ConnectClose, without which libvirt would log an error, and ends the
// connection. A libvirt that does not answer a ping is not sent it: when it goes on, it
// would find the call and the end of the connection together, and libvirtd 9.0 was seen
// to end by a segfault then, 2 times of some 340.
func (c *connection) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.alive(ctx) == nil {
		//nolint:errcheck // the connection ends, whatever libvirt says to it
		c.call(ctx, "close", c.virt.ConnectClose)
	}
	c.abandon()
}

// abandon ends the connection without ConnectClose and waits for its goroutines, and
// go-libvirt's, to end.
func (c *connection) abandon() {
	c.guard.Close()
	c.asking.Wait()
	<-c.virt.Disconnected()
}

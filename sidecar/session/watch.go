package session

import (
	"context"
	"fmt"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

const (
	// eventGap is the least time between two reads of the domains that events ask for,
	// so that a flood of events costs no more than fifty reads a second.
	eventGap = 20 * time.Millisecond
	// firstDoubt and lastDoubt bound the waits between the reads that follow a
	// connection, each twice as long as the previous one. What libvirt says right after
	// a start is provisional: it lists a domain as running whose QEMU has died until a
	// thread of its own finds out, and sends no event for it.
	firstDoubt = 100 * time.Millisecond
	lastDoubt  = 6400 * time.Millisecond
	// pingsPerControl is how many pings of an idle connection there are between two questions for the state of QEMU's
	// monitor, each of which takes the place of one: once a minute. While it is not idle there are none between.
	pingsPerControl = 3
	// versionPause is the least time between two questions for the hypervisor's version.
	// libvirt took up to 80 s to answer, in one of 5 workers.
	versionPause = time.Minute
)

// A watch follows the domains over one connection. Their states come by calls of high
// priority alone, each of which is waited for; their XML comes when libvirt has a
// worker for it, and until then the last answer is valid.
type watch struct {
	session *Session
	c       *connection

	domains []libvirt.Domain
	states  []hypervisor.State
	// stale holds the domains whose XML must be asked for again.
	stale map[hypervisor.DomainID]bool
	// asked is the domain of the question that is open, if one is.
	asked hypervisor.DomainID
	open  bool
	// patience runs while libvirt has not answered for a domain of which nothing is
	// known yet; nil without such a domain.
	patience <-chan time.Time
	// quiet runs while events have to wait; nil otherwise.
	quiet <-chan time.Time
	// doubt runs until the next read that follows the connection; doubtWait is how long.
	doubt     <-chan time.Time
	doubtWait time.Duration
	versions  hypervisor.Versions
	answer    <-chan string
	// pings are those since the last question for the state of QEMU's monitor; busy is set if it was not idle.
	pings int
	busy  bool
}

func newWatch(s *Session, c *connection) *watch {
	return &watch{session: s, c: c, stale: map[hypervisor.DomainID]bool{}, pings: pingsPerControl}
}

// run reads the domains at once, then after events and at each resync, until the
// connection breaks or ctx ends.
func (w *watch) run(ctx context.Context) error {
	if err := w.begin(ctx); err != nil {
		return err
	}
	resync, err := newTicker(w.session.config.Resync)
	if err != nil {
		return err
	}
	defer resync.Stop()
	keepalive, err := newTicker(w.session.config.Keepalive)
	if err != nil {
		return err
	}
	defer keepalive.Stop()
	for err == nil {
		w.askVersion()
		events := w.c.guard.events
		if w.quiet != nil {
			events = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.c.guard.done:
			return w.c.guard.Err()
		case w.session.hypervisor = <-w.answer:
			w.versions.Hypervisor = w.session.hypervisor
			w.session.sink.Versioned(w.versions)
		case <-events:
			w.quiet = time.After(eventGap)
			err = w.look(ctx)
		case <-w.quiet:
			w.quiet = nil
		case <-w.doubt:
			w.doubtAgain()
			err = w.look(ctx)
		case answer := <-w.c.guard.xml:
			err = w.take(ctx, answer)
		case <-w.patience:
			err = w.losePatience(ctx)
		case <-resync.C:
			w.allStale() // a disk or an interface may have been plugged in, which is no lifecycle event
			err = w.look(ctx)
		case <-keepalive.C:
			err = w.keepAlive(ctx)
		}
	}
	return err
}

// begin makes the first read of a connection, which must succeed before libvirt counts
// as answering: a daemon that refuses the sidecar lets it dial.
func (w *watch) begin(ctx context.Context) error {
	if err := w.read(ctx); err != nil {
		return err
	}
	version, err := w.c.libVersion(ctx)
	if err != nil {
		return err
	}
	w.versions = hypervisor.Versions{Hypervisor: w.session.hypervisor, Libvirt: version}
	w.session.sink.Connected(w.versions)
	w.session.redial.reset()
	w.allStale() // another libvirt may have another answer
	w.publish()
	w.doubtAgain()
	return w.ask()
}

// look reads the domains and publishes what it finds.
func (w *watch) look(ctx context.Context) error {
	restarted := w.c.guard.Restarted()
	if err := w.read(ctx); err != nil {
		return err
	}
	if restarted {
		w.allStale()
	}
	w.publish()
	return w.ask()
}

// read asks for the domains and their states, and forgets those that have gone.
func (w *watch) read(ctx context.Context) (err error) {
	if w.domains, w.states, err = w.c.observe(ctx, w.session.config.Domain); err != nil {
		return err
	}
	known, stale := map[hypervisor.DomainID]*hypervisor.Description{}, map[hypervisor.DomainID]bool{}
	for _, domain := range w.domains {
		id := idOf(domain)
		if description := w.session.known[id]; description != nil {
			known[id] = description
		}
		if w.stale[id] {
			stale[id] = true
		}
	}
	w.session.known, w.stale = known, stale
	if len(w.domains) > maxLooks {
		w.giveUp(fmt.Errorf("%w: %d domains are too many to ask for", hypervisor.ErrNoAnswer, len(w.domains)))
	}
	return nil
}

// doubtAgain sets the next read that follows the connection, until the last one.
func (w *watch) doubtAgain() {
	w.doubtWait = max(2*w.doubtWait, firstDoubt)
	w.doubt = nil
	if w.doubtWait <= lastDoubt {
		w.doubt = time.After(w.doubtWait)
	}
}

// keepAlive finds out whether libvirt still answers, by a ping, or now and then by a question.
func (w *watch) keepAlive(ctx context.Context) error {
	if len(w.domains) != 1 || !w.running() || !w.busy && w.pings < pingsPerControl {
		w.pings++
		err := w.c.alive(ctx)
		if err == nil {
			w.session.sink.Heard()
		}
		return err
	}
	w.pings = 0
	control, err := w.c.control(ctx, w.domains[0])
	w.busy = control != nil && control.State != hypervisor.ControlOK
	if err == nil {
		w.session.sink.Controlled(idOf(w.domains[0]), control)
	}
	return err
}

// askVersion asks for the hypervisor's version once the VM runs: it may cost CPU, which
// a VM that starts needs itself.
func (w *watch) askVersion() {
	if w.answer == nil && w.session.mayAskVersion() && w.running() {
		w.session.askedAt, w.answer = time.Now(), w.c.askHypervisorVersion()
	}
}

func (w *watch) running() bool {
	for _, state := range w.states {
		if state.Running(false) {
			return true
		}
	}
	return false
}

// mayAskVersion reports whether the version is unknown, and was not asked for just now: a
// question whose connection broke may still keep one of libvirt's workers.
func (s *Session) mayAskVersion() bool {
	pause := min(versionPause, s.config.Resync)
	return s.hypervisor == "" && (s.askedAt.IsZero() || time.Since(s.askedAt) > pause)
}

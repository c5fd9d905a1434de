package libvirttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

// Entry is one line of a Recorder.
type Entry struct {
	At     time.Time
	Domain string
	// Event is nil if the entry is a change of state that polling saw.
	Event *Event
	// State is what libvirt answered right after the event came.
	State State
}

// String is "stopped(shutdown) → shutoff(shutdown)", or only the state.
func (e Entry) String() string {
	if e.Event == nil {
		return "→ " + e.State.String()
	}
	return e.Event.String() + " → " + e.State.String()
}

// Recorder writes down the lifecycle events of a daemon's domains, over a connection
// of its own. It must be closed before its daemon.
type Recorder struct {
	conn    net.Conn
	libvirt *libvirt.Libvirt
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	entries []Entry
	more    chan struct{}
}

// Record begins to record. With poll > 0, it also asks for each domain's state that
// often, and writes down each one that differs from the entry before.
func (d *Daemon) Record(poll time.Duration) (*Recorder, error) {
	conn, err := net.Dial("unix", d.Socket())
	if err != nil {
		return nil, fmt.Errorf("recorder: %w", err)
	}
	l := libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	if err := l.ConnectToURI("qemu:///session"); err != nil {
		return nil, errors.Join(fmt.Errorf("recorder: %w", err), conn.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Recorder{conn: conn, libvirt: l, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	events, err := l.LifecycleEvents(ctx)
	if err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("recorder: %w", err), conn.Close())
	}
	go r.run(ctx, events, poll)
	return r, nil
}

// Close ends the recording; what was recorded stays.
func (r *Recorder) Close() {
	r.cancel()
	<-r.done
	// A libvirtd that was stopped or killed must not hold us.
	_ = r.conn.SetDeadline(time.Now().Add(time.Second))
	_ = r.libvirt.Disconnect()
	_ = r.conn.Close()
}

func (r *Recorder) run(ctx context.Context, events <-chan libvirt.DomainEventLifecycleMsg, poll time.Duration) {
	defer close(r.done)
	var tick <-chan time.Time
	if poll > 0 {
		ticker := time.NewTicker(poll)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case e, open := <-events:
			if !open {
				return
			}
			r.add(Entry{
				At: time.Now(), Domain: e.Dom.Name,
				Event: &Event{libvirt.DomainEventType(e.Event), e.Detail}, State: r.state(e.Dom),
			})
		case <-tick:
			r.poll()
		case <-ctx.Done():
			// go-libvirt's goroutine holds an event until someone takes it.
			for range events {
			}
			return
		}
	}
}

func (r *Recorder) poll() {
	domains, _, err := r.libvirt.ConnectListAllDomains(1, 0)
	if err != nil {
		return
	}
	listed := make(map[string]bool, len(domains))
	for _, dom := range domains {
		listed[dom.Name] = true
		state := r.state(dom)
		if last, found := r.last(dom.Name); !found || last.State != state {
			r.add(Entry{At: time.Now(), Domain: dom.Name, State: state})
		}
	}
	for _, e := range r.Entries("") {
		if last, _ := r.last(e.Domain); !listed[e.Domain] && !last.State.Gone {
			r.add(Entry{At: time.Now(), Domain: e.Domain, State: State{Gone: true}})
		}
	}
}

// state takes every error for "none": the connection is to a daemon of our own, and a
// dead one has no domain to tell of.
func (r *Recorder) state(dom libvirt.Domain) State {
	state, reason, err := r.libvirt.DomainGetState(dom, 0)
	if err != nil {
		return State{Gone: true}
	}
	return State{State: libvirt.DomainState(state), Reason: reason}
}

func (r *Recorder) add(e Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	close(r.more)
	r.more = make(chan struct{})
}

func (r *Recorder) last(domain string) (Entry, bool) {
	entries := r.Entries(domain)
	if len(entries) == 0 {
		return Entry{}, false
	}
	return entries[len(entries)-1], true
}

// Entries are those of one domain so far, or of all if domain is empty.
func (r *Recorder) Entries(domain string) []Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Entry
	for _, e := range r.entries {
		if domain == "" || e.Domain == domain {
			list = append(list, e)
		}
	}
	return list
}

// Await waits until the domain's last entry is in the state (as State.String has it).
func (r *Recorder) Await(ctx context.Context, domain, state string) error {
	for {
		r.mu.Lock()
		more := r.more
		r.mu.Unlock()
		last, found := r.last(domain)
		if found && last.State.String() == state {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return fmt.Errorf("domain %s did not become %s, so far: %v: %w", domain, state, r.Entries(domain), ctx.Err())
		}
	}
}

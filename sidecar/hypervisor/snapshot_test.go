package hypervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/stretchr/testify/require"
)

var (
	web     = Identity{Namespace: "shop", Name: "web", Node: "node-1"}
	running = State{libvirt.DomainRunning, int32(libvirt.DomainRunningBooted)}
	paused  = State{libvirt.DomainPaused, int32(libvirt.DomainPausedUser)}
	shutoff = State{libvirt.DomainShutoff, int32(libvirt.DomainShutoffDestroyed)}
	moving  = State{libvirt.DomainPaused, int32(libvirt.DomainPausedMigration)}
	torn    = State{libvirt.DomainPaused, int32(libvirt.DomainPausedPostcopy)}
)

const (
	kvmXML    = `<domain type="kvm"/>`
	tcgXML    = `<domain type="qemu"/>`
	hypervXML = `<domain type="hyperv"/>`
	ourXML    = `<domain type="kvm"><metadata><kubevirt xmlns="http://kubevirt.io"/></metadata></domain>`
	grace     = 30 * time.Second
)

// described is the domain of number 1 under a name; without XML, libvirt has not described it.
func described(name string, state State, xml string) Domain {
	domain := Domain{Name: name, ID: DomainID{Number: 1}, State: state}
	if xml != "" {
		domain.Description = Describe(strings.NewReader(xml))
	}
	return domain
}

func one(state State, xml string) Observation {
	return Observation{Domains: []Domain{described("shop_web", state, xml)}}
}

// numbered is as one, of another run of the domain.
func numbered(number int32, state State, xml string) Observation {
	o := one(state, xml)
	o.Domains[0].ID.Number = number
	return o
}

// world is what a story moves on.
type world struct {
	Snapshot
	heard, now time.Time
}

// A step of a story: what happens, if anything but time, and what may be said after it.
type step struct {
	after   time.Duration // since the step before
	happens func(*world)
	want    View // but ChangedAt and Domain
	changed bool // the change is dated to this moment
	logs    []slog.Level
}

func connect(w *world) { w.Snapshot = w.AfterConnect(Versions{Libvirt: "9.0.0"}) }

func hear(w *world) { w.heard = w.now }

func lose(text string) func(*world) {
	return func(w *world) { w.Snapshot = w.AfterLoss(errors.New(text)) }
}

func see(o Observation) func(*world) {
	return func(w *world) {
		w.Snapshot = w.AfterObservation(o, w.heard, w.now)
		w.heard = w.now
	}
}

func TestSnapshot(t *testing.T) {
	down, absent := View{}, View{Up: true}
	shown := func(t Type) View { return View{Up: true, Present: true, Type: t, Details: true} }
	cut := func(v View) View { v.Up = false; return v } // there is no connection
	bare := View{Up: true, Present: true, Type: Unknown}
	info, warn, fault := []slog.Level{slog.LevelInfo}, []slog.Level{slog.LevelWarn}, []slog.Level{slog.LevelError}
	const second = time.Second
	for name, story := range map[string][]step{
		"a VM's life": {
			{happens: lose("no socket"), want: down, logs: warn},
			{after: second, happens: lose("no socket"), want: down},
			{after: second, happens: connect, want: absent, logs: info},
			{happens: see(Observation{}), want: absent},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(paused, kvmXML)), want: shown(KVM)},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM)},
			{after: second, happens: see(one(shutoff, kvmXML)), want: absent, changed: true, logs: info},
			{after: second, happens: see(Observation{}), want: absent},
			{after: second, happens: see(one(running, tcgXML)), want: shown(QEMUTCG), changed: true, logs: info},
		},
		"libvirt is lost, and found within the grace period": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: 10 * second, happens: hear, want: shown(KVM)},
			{after: second, happens: lose("gone"), want: cut(shown(KVM)), logs: warn},
			{after: grace - second - 1, want: cut(shown(KVM))},
			{happens: connect, want: shown(KVM), logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM)},
		},
		"libvirt is lost for longer": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{happens: lose("gone"), want: cut(shown(KVM)), logs: warn},
			{after: grace, want: cut(bare), changed: true},
			{after: second, happens: lose("gone"), want: cut(bare), logs: warn},
			{after: second, happens: lose("gone"), want: cut(bare)},
			{after: second, happens: lose("refused"), want: cut(bare), logs: warn},
			{after: second, happens: connect, want: cut(bare), logs: info},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true},
		},
		"the grace period counts from the last answer": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: grace / 2, happens: lose("gone"), want: cut(shown(KVM)), logs: warn},
			{after: grace / 2, want: cut(bare), changed: true},
		},
		"a session that is stuck says nothing, and is found out": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: grace - 1, want: shown(KVM)},
			{after: 1, want: cut(bare), changed: true},
		},
		"pings keep what is known": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: grace / 2, happens: hear, want: shown(KVM)},
			{after: grace / 2, happens: hear, want: shown(KVM)},
			{after: grace / 2, happens: hear, want: shown(KVM)},
			{after: grace - 1, want: shown(KVM)},
		},
		"a VM that did not run stays absent without libvirt": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(shutoff, kvmXML)), want: absent},
			{happens: lose("gone"), want: down, logs: warn},
			{after: 2 * grace, happens: lose("gone"), want: down},
		},
		"types outside the set are unknown, but shown in detail": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, hypervXML)), want: shown(Unknown), changed: true, logs: warn},
			{happens: see(one(running, hypervXML)), want: shown(Unknown)},
			{after: second, happens: see(one(running, tcgXML)), want: shown(QEMUTCG), changed: true, logs: info},
		},
		"XML without a type is unknown": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, "<domain")), want: bare, changed: true, logs: fault},
			{happens: see(one(running, "<domain")), want: bare},
			{happens: see(one(running, "<domain/>")), want: bare, logs: fault},
		},
		"a domain that libvirt has not described yet is not shown": {
			{happens: connect, want: absent, logs: info},
			{after: second, happens: see(one(running, "")), want: absent},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(numbered(2, running, "")), want: absent, changed: true, logs: info},
			{after: second, happens: see(numbered(2, running, tcgXML)), want: shown(QEMUTCG), changed: true, logs: info},
		},
		"a source stays until it is shut off": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(moving, kvmXML)), want: shown(KVM)},
			{after: second, happens: lose("gone"), want: cut(shown(KVM)), logs: warn},
			{happens: connect, want: shown(KVM), logs: info},
			{happens: see(one(moving, kvmXML)), want: shown(KVM)},
			{after: second, happens: see(one(shutoff, kvmXML)), want: absent, changed: true, logs: info},
		},
		"a source whose migration fails": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(moving, kvmXML)), want: shown(KVM)},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM)},
		},
		"a source in post-copy is gone": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(torn, kvmXML)), want: absent, changed: true, logs: info},
		},
		"a VM that its user has paused moves": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(paused, kvmXML)), want: shown(KVM)},
			{after: second, happens: see(one(moving, kvmXML)), want: shown(KVM)},
		},
		"a pause for another reason is no sign that the domain has run here": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(paused, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(one(moving, kvmXML)), want: absent, changed: true, logs: info},
		},
		"a target is absent until it runs": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(moving, kvmXML)), want: absent},
			{after: second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
		},
		"a target that came back: another run of the domain has not run here": {
			{happens: connect, want: absent, logs: info},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: info},
			{after: second, happens: see(numbered(2, moving, kvmXML)), want: absent, changed: true, logs: info},
			{after: second, happens: see(numbered(1, moving, kvmXML)), want: absent},
		},
		"a stranger is not the VMI": {
			{happens: connect, want: absent, logs: info},
			{happens: see(Observation{Domains: []Domain{described("other", running, "")}}), want: absent},
			{happens: see(Observation{Domains: []Domain{described("other", running, kvmXML)}}), want: absent, logs: warn},
			{happens: see(Observation{Domains: []Domain{described("other", running, kvmXML)}}), want: absent},
			{happens: see(Observation{Domains: []Domain{described("other", running, ourXML)}}), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelWarn, slog.LevelInfo}},
		},
	} {
		t.Run(name, func(t *testing.T) { tell(t, story) })
	}
}

func tell(t *testing.T, story []step) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w, changedAt, expired := &world{Snapshot: Start(web, grace, now), heard: now, now: now}, now, false
	for i, step := range story {
		w.now = w.now.Add(step.after)
		before := w.Snapshot
		if step.happens != nil {
			step.happens(w)
		}
		if step.changed {
			changedAt = w.now
		}
		step.want.ChangedAt = changedAt
		view := w.At(w.now, w.heard)
		view.Domain = false // see TestDomainIsShown
		require.Equal(t, step.want, view, "step %d", i)
		if step.happens == nil {
			continue
		}
		was := expired
		expired = w.Expired(w.now, w.heard)
		var logs []slog.Level
		for _, change := range Changes(before, w.Snapshot, !was && expired) {
			logs = append(logs, change.Level)
		}
		require.Equal(t, step.logs, logs, "step %d", i)
	}
}

func TestChoose(t *testing.T) {
	named := described("shop_web", running, kvmXML)
	ours, ours2 := described("a", running, ourXML), described("b", running, ourXML)
	foreign, silent := described("c", running, kvmXML), described("e", running, "")
	for _, test := range []struct {
		name    string
		domains []Domain
		want    string
		match   Match
	}{
		{"none", nil, "", NoDomain},
		{"the one", []Domain{named}, "shop_web", Named},
		{"the one among others", []Domain{ours, foreign, named}, "shop_web", Named},
		{"the name counts, even without metadata", []Domain{ours, named}, "shop_web", Named},
		{"the only one of KubeVirt", []Domain{foreign, ours}, "a", ByMetadata},
		{"two of KubeVirt", []Domain{ours, ours2}, "", Ambiguous},
		{"a stranger alone", []Domain{foreign}, "", Foreign},
		{"a stranger that cannot be read", []Domain{described("d", running, "<")}, "", Foreign},
		{"one that libvirt has not described may be KubeVirt's", []Domain{ours, silent}, "", NoDomain},
		{"the one beside one that libvirt has not described", []Domain{silent, named}, "shop_web", Named},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, match := choose(web, test.domains)
			require.Equal(t, test.want, got.Name)
			require.Equal(t, test.match, match)
		})
	}
}

// TestProblem: the reason is shown as long as the type is not known, and no longer.
func TestProblem(t *testing.T) {
	now := time.Now()
	silent := one(running, "")
	silent.Domains[0].Description = &Description{Err: fmt.Errorf("%w within 5s", ErrNoAnswer)}
	connected := Start(web, grace, now).AfterConnect(Versions{})
	seen := func(o Observation) Snapshot { return connected.AfterObservation(o, now, now) }
	nameless := Start(Identity{}, grace, now).AfterConnect(Versions{})
	for name, test := range map[string]struct {
		s    Snapshot
		at   time.Duration
		want string
	}{
		"before libvirt":      {s: Start(web, grace, now), want: "libvirt"},
		"connected":           {s: connected},
		"it runs":             {s: seen(one(running, kvmXML))},
		"another accelerator": {s: seen(one(running, hypervXML))},
		"shut off":            {s: seen(one(shutoff, "<"))},
		"not XML":             {s: seen(one(running, "<")), want: "xml"},
		"no type":             {s: seen(one(running, "<domain/>")), want: "no_type"},
		"too large":           {s: seen(one(running, "<domain>"+strings.Repeat("<a>", maxDepth))), want: "too_large"},
		"no answer":           {s: seen(silent), want: "libvirt"},
		"a stranger":          {s: seen(Observation{Domains: []Domain{described("other", running, kvmXML)}}), want: "no_match"},
		"lost":                {s: seen(one(running, kvmXML)).AfterLoss(errors.New("gone")), want: "libvirt"},
		"stuck":               {s: seen(one(running, kvmXML)), at: grace, want: "libvirt"},
		"no identity":         {s: nameless.AfterObservation(one(running, kvmXML), now, now), want: "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if reason, found := test.s.Problem(test.s.At(now.Add(test.at), now)); found {
				got = reason.String()
			}
			require.Equal(t, test.want, got)
		})
	}
	for reason := range ErrorReasons {
		require.NotEqual(t, "invalid", reason.String())
	}
}

// TestDomainIsShown: a state is true while libvirt answers and there is a domain, whether it runs or not.
func TestDomainIsShown(t *testing.T) {
	now := time.Now()
	connected := Start(web, grace, now).AfterConnect(Versions{})
	for name, test := range map[string]struct {
		o    Observation
		at   time.Duration
		want bool
	}{
		"none":           {},
		"running":        {o: one(running, kvmXML), want: true},
		"not described":  {o: one(running, ""), want: true},
		"shut off":       {o: one(shutoff, kvmXML), want: true},
		"a target":       {o: one(moving, kvmXML), want: true},
		"by metadata":    {o: Observation{Domains: []Domain{described("a", running, ourXML)}}, want: true},
		"a stranger":     {o: Observation{Domains: []Domain{described("a", running, kvmXML)}}},
		"within grace":   {o: one(paused, kvmXML), at: grace - 1, want: true},
		"libvirt silent": {o: one(paused, kvmXML), at: grace},
	} {
		t.Run(name, func(t *testing.T) {
			s := connected.AfterObservation(test.o, now, now)
			require.Equal(t, test.want, s.At(now.Add(test.at), now).Domain)
		})
	}
}

// TestControl: the state of QEMU's monitor is that of the domain that runs now, as long as libvirt answers.
func TestControl(t *testing.T) {
	now := time.Now()
	first, second := DomainID{Number: 1}, DomainID{Number: 2}
	stuck := &Control{State: ControlOccupied, Lasted: time.Minute}
	s := Start(web, grace, now).AfterConnect(Versions{}).AfterObservation(one(running, kvmXML), now, now)
	known := s.AfterControl(first, stuck)
	require.Equal(t, stuck, known.Control)
	require.Equal(t, stuck, known.AfterObservation(one(paused, kvmXML), now, now).Control)
	for name, s := range map[string]Snapshot{
		"another run of the domain": s.AfterControl(second, stuck),
		"refused":                   known.AfterControl(first, nil),
		"lost":                      known.AfterLoss(errors.New("gone")),
		"shut off":                  known.AfterObservation(one(shutoff, kvmXML), now, now),
		"gone":                      known.AfterObservation(Observation{}, now, now),
		"runs again":                known.AfterObservation(numbered(2, running, kvmXML), now, now),
	} {
		require.Nil(t, s.Control, name)
	}
	for state := range ControlStates {
		require.NotEqual(t, "invalid", state.String())
	}
}

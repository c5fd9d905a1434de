package hypervisor

import (
	"errors"
	"log/slog"
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
)

const (
	kvmXML    = `<domain type="kvm"/>`
	tcgXML    = `<domain type="qemu"/>`
	hypervXML = `<domain type="hyperv"/>`
	ourXML    = `<domain type="kvm"><metadata><kubevirt xmlns="http://kubevirt.io"/></metadata></domain>`
	grace     = 30 * time.Second
)

func one(state State, xml string) Observation {
	return Observation{Domains: []Domain{{Name: "shop_web", State: state, XML: xml}}}
}

// A step of a story: what happens, if anything but time, and what may be said after it.
type step struct {
	after   time.Duration // since the step before
	happens func(Snapshot, time.Time) Snapshot
	want    View // but ChangedAt
	changed bool // the change is dated to this moment
	logs    []slog.Level
}

func connect(s Snapshot, _ time.Time) Snapshot { return s.AfterConnect(Versions{Libvirt: "9.0.0"}) }

func lose(text string) func(Snapshot, time.Time) Snapshot {
	return func(s Snapshot, now time.Time) Snapshot { return s.AfterLoss(errors.New(text), now) }
}

func see(o Observation) func(Snapshot, time.Time) Snapshot {
	return func(s Snapshot, now time.Time) Snapshot { return s.AfterObservation(o, now) }
}

func TestSnapshot(t *testing.T) {
	absent := View{}
	shown := func(t Type) View { return View{Present: true, Type: t, Details: true} }
	bare := View{Present: true, Type: Unknown}
	for name, story := range map[string][]step{
		"a VM's life": {
			{happens: lose("no socket"), want: absent, logs: []slog.Level{slog.LevelWarn}},
			{after: time.Second, happens: lose("no socket"), want: absent},
			{after: time.Second, happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(Observation{}), want: absent},
			{after: time.Second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelInfo}},
			{after: time.Second, happens: see(one(paused, kvmXML)), want: shown(KVM)},
			{after: time.Second, happens: see(one(running, kvmXML)), want: shown(KVM)},
			{after: time.Second, happens: see(one(shutoff, kvmXML)), want: absent, changed: true, logs: []slog.Level{slog.LevelInfo}},
			{after: time.Second, happens: see(Observation{}), want: absent},
			{after: time.Second, happens: see(one(running, tcgXML)), want: shown(QEMUTCG), changed: true, logs: []slog.Level{slog.LevelInfo}},
		},
		"libvirt is lost, and found within the grace period": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelInfo}},
			{after: time.Minute, happens: lose("gone"), want: shown(KVM), logs: []slog.Level{slog.LevelWarn}},
			{after: grace - 1, want: shown(KVM)},
			{happens: connect, want: shown(KVM), logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, kvmXML)), want: shown(KVM)},
			{after: time.Hour, want: shown(KVM)},
		},
		"libvirt is lost for longer": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelInfo}},
			{happens: lose("gone"), want: shown(KVM), logs: []slog.Level{slog.LevelWarn}},
			{after: grace, want: bare, changed: true},
			{after: time.Second, happens: lose("gone"), want: bare, logs: []slog.Level{slog.LevelWarn}},
			{after: time.Second, happens: lose("gone"), want: bare},
			{after: time.Second, happens: lose("refused"), want: bare, logs: []slog.Level{slog.LevelWarn}},
			{after: time.Second, happens: connect, want: bare, logs: []slog.Level{slog.LevelInfo}},
			{after: time.Second, happens: see(one(running, kvmXML)), want: shown(KVM), changed: true},
		},
		"the grace period counts from the first loss": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, kvmXML)), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelInfo}},
			{happens: lose("gone"), want: shown(KVM), logs: []slog.Level{slog.LevelWarn}},
			{after: grace / 2, happens: lose("gone"), want: shown(KVM)},
			{after: grace / 2, want: bare, changed: true},
		},
		"a VM that did not run stays absent without libvirt": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(shutoff, kvmXML)), want: absent},
			{happens: lose("gone"), want: absent, logs: []slog.Level{slog.LevelWarn}},
			{after: 2 * grace, happens: lose("gone"), want: absent},
		},
		"types outside the set are unknown, but told in detail": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, hypervXML)), want: shown(Unknown), changed: true, logs: []slog.Level{slog.LevelWarn}},
			{happens: see(one(running, hypervXML)), want: shown(Unknown)},
			{after: time.Second, happens: see(one(running, tcgXML)), want: shown(QEMUTCG), changed: true, logs: []slog.Level{slog.LevelInfo}},
		},
		"XML that does not tell is unknown": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(one(running, "<domain")), want: bare, changed: true, logs: []slog.Level{slog.LevelError}},
			{happens: see(one(running, "<domain")), want: bare},
			{happens: see(one(running, "<domain/>")), want: bare, logs: []slog.Level{slog.LevelError}},
		},
		"a stranger is not the VMI": {
			{happens: connect, want: absent, logs: []slog.Level{slog.LevelInfo}},
			{happens: see(Observation{Domains: []Domain{{"other", running, kvmXML}}}), want: absent, logs: []slog.Level{slog.LevelWarn}},
			{happens: see(Observation{Domains: []Domain{{"other", running, kvmXML}}}), want: absent},
			{happens: see(Observation{Domains: []Domain{{"other", running, ourXML}}}), want: shown(KVM), changed: true, logs: []slog.Level{slog.LevelWarn, slog.LevelInfo}},
		},
	} {
		t.Run(name, func(t *testing.T) { tell(t, story) })
	}
}

func tell(t *testing.T, story []step) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	was, changedAt := now, now
	s := Start(web, grace, now)
	for i, step := range story {
		now = now.Add(step.after)
		before := s
		if step.happens != nil {
			s = step.happens(s, now)
		}
		if step.changed {
			changedAt = now
		}
		step.want.ChangedAt = changedAt
		require.Equal(t, step.want, s.At(now), "step %d", i)
		if step.happens == nil {
			continue
		}
		var logs []slog.Level
		for _, change := range Changes(before, s, was, now) {
			logs = append(logs, change.Level)
		}
		if step.logs == nil {
			require.Empty(t, logs, "step %d", i)
		} else {
			require.Equal(t, step.logs, logs, "step %d", i)
		}
		was = now
	}
}

func TestChoose(t *testing.T) {
	named := Domain{"shop_web", running, kvmXML}
	ours, ours2 := Domain{"a", running, ourXML}, Domain{"b", running, ourXML}
	foreign := Domain{"c", running, kvmXML}
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
		{"a stranger that cannot be read", []Domain{{"d", running, "<"}}, "", Foreign},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, match := choose(web, test.domains)
			require.Equal(t, test.want, got.Name)
			require.Equal(t, test.match, match)
		})
	}
}

func TestCounters(t *testing.T) {
	now := time.Now()
	s := Start(web, grace, now)
	s = s.AfterLoss(errors.New("gone"), now).AfterConnect(Versions{})
	s = s.AfterObservation(one(running, kvmXML), now)
	s = s.AfterObservation(one(shutoff, kvmXML), now) // what does not run is not detected
	s = s.AfterObservation(one(running, "<"), now)
	s = s.AfterObservation(one(running, "<domain/>"), now)
	s = s.AfterObservation(Observation{Domains: []Domain{{"other", running, kvmXML}}}, now)
	require.EqualValues(t, 1, s.Connects)
	require.EqualValues(t, 3, s.Detections)
	require.Equal(t, [ErrorReasons]uint64{ReasonXML: 1, ReasonNoType: 1, ReasonNoMatch: 1, ReasonLibvirt: 1}, s.Errors)
}

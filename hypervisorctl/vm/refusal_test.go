package vm

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The messages are what KubeVirt 1.9 and an API server 1.36 wrote, but for the names.
func TestRefusalOf(t *testing.T) {
	event := func(message string) *corev1.Event {
		return &corev1.Event{Reason: "FailedCreate", Message: message, InvolvedObject: corev1.ObjectReference{Kind: "VirtualMachineInstance"}}
	}
	for message, want := range map[string]string{
		`Error creating pod: pods "virt-launcher-web-abcde" is forbidden: minimum memory usage per Container is 32Mi, but request is 24Mi`:                   "minimum memory usage per Container is 32Mi, but request is 24Mi",
		`Error creating pod: pods "virt-launcher-web-abcde" is forbidden: exceeded quota: q, requested: requests.memory=480Mi, used: …`:                      "exceeded quota: q, requested: requests.memory=480Mi, used: …",
		`Error creating pod: admission webhook "validation.gatekeeper.sh" denied the request: [allowed-repos] container has an invalid image`:                `admission webhook "validation.gatekeeper.sh" denied the request: [allowed-repos] container has an invalid image`,
		`failed to render launch manifest: failed to create pod for vmi shop/web, it needs a privileged namespace to run: pods "x" is forbidden: violates …`: `failed to create pod for vmi shop/web, it needs a privileged namespace to run: pods "x" is forbidden: violates …`,
	} {
		refusal, ok := RefusalOf(event(message))
		require.True(t, ok, message)
		require.Equal(t, want, refusal.By)
	}
	for _, message := range []string{
		"Error creating pod: context deadline exceeded", `Error creating attachment pod: pods "hp-x" is forbidden: …`, "", "x is forbidden: y",
	} {
		_, ok := RefusalOf(event(message))
		require.False(t, ok, message)
	}
	long, _ := RefusalOf(event("Error creating pod: x is forbidden: " + strings.Repeat("ä", 5000)))
	require.Len(t, []rune(long.By), mostOfRefusal)
	other := event("Error creating pod: x is forbidden: y")
	other.InvolvedObject.Kind = "ReplicaSet"
	_, ok := RefusalOf(other)
	require.False(t, ok)
}

// FuzzRefusalOf: an event's message may contain anything.
func FuzzRefusalOf(f *testing.F) {
	f.Add(`Error creating pod: pods "x" is forbidden: y`)
	f.Add("Error creating pod: \xff denied the request")
	f.Fuzz(func(t *testing.T, message string) {
		refusal, ok := RefusalOf(&corev1.Event{Reason: RefusalReason, Message: message, InvolvedObject: corev1.ObjectReference{Kind: "VirtualMachineInstance"}})
		require.LessOrEqual(t, len([]rune(refusal.By)), mostOfRefusal)
		require.Equal(t, ok, refusal.By != "")
	})
}

func TestLastSeen(t *testing.T) {
	at := func(seconds int64) metav1.Time { return metav1.Unix(seconds, 0) }
	for name, event := range map[string]corev1.Event{
		"core":               {LastTimestamp: at(9), FirstTimestamp: at(1), ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(1)}},
		"events.k8s.io":      {EventTime: metav1.NewMicroTime(time.Unix(9, 0))},
		"a series of those":  {EventTime: metav1.NewMicroTime(time.Unix(1, 0)), Series: &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(time.Unix(9, 0))}},
		"no time of its own": {ObjectMeta: metav1.ObjectMeta{CreationTimestamp: at(9)}},
	} {
		require.Equal(t, int64(9), LastSeen(&event).Unix(), name)
	}
}

func TestExplained(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	launcher := &Launcher{Created: now}
	for name, test := range map[string]struct {
		why      Why
		phase    string
		launcher *Launcher
		at       time.Duration // of the refusal, from now
		want     Why
	}{
		"refused twice, then created": {Missed, Running, launcher, -2 * time.Second, RefusedBefore},
		"the last in the same second": {Missed, Running, launcher, time.Second, RefusedBefore},
		"an hour before":              {Missed, Running, launcher, -time.Hour, Missed},
		"a later pod of a migration":  {Missed, Running, launcher, 10 * time.Minute, Missed},
		"it has a sidecar":            {SidecarFailing, Running, launcher, -time.Second, SidecarFailing},
		"it does not start":           {NotRunning, "Pending", nil, -16 * time.Minute, PodsRefused},
		"it did not start then":       {NotRunning, "Pending", nil, -time.Hour, NotRunning},
		"it starts":                   {NotRunning, "Scheduling", launcher, -time.Second, NotRunning},
		"it has ended":                {NotRunning, "Succeeded", nil, -time.Second, NotRunning},
	} {
		t.Run(name, func(t *testing.T) {
			got := Cause{Why: test.why}.Explained(VMI{Phase: test.phase}, test.launcher, Refusal{By: "a quota", At: now.Add(test.at)}, now)
			require.Equal(t, test.want.String(), got.Why.String())
			if test.want != test.why {
				require.Equal(t, "a quota", got.Detail)
				require.Contains(t, got.Sentence(), "a quota")
				require.NotEmpty(t, got.Hint())
				require.False(t, got.Wanted())
			}
		})
	}
}

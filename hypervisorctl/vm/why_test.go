package vm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestDiagnose(t *testing.T) {
	pod := func(state SidecarState, detail string, decision inject.Reason) *Launcher {
		return &Launcher{Sidecar: Sidecar{State: state, Detail: detail}, Decision: decision}
	}
	tests := map[string]struct {
		phase    string
		launcher *Launcher
		enabled  Enabled
		want     Cause
		short    string
	}{
		"runs":                   {Running, pod(Up, "", inject.AlreadyInjected), EnabledYes, Cause{}, ""},
		"scheduling":             {"Scheduling", nil, EnabledYes, Cause{Why: NotRunning, Detail: "Scheduling"}, "not_running"},
		"no pod":                 {Running, nil, EnabledYes, Cause{Why: NoPod}, "no_pod"},
		"starting":               {Running, pod(Starting, "", inject.AlreadyInjected), EnabledYes, Cause{Why: SidecarStarting}, "sidecar_starting"},
		"failing":                {Running, pod(Failing, "CrashLoopBackOff", inject.AlreadyInjected), EnabledYes, Cause{Why: SidecarFailing, Detail: "CrashLoopBackOff"}, "sidecar_failing: CrashLoopBackOff"},
		"ended":                  {Running, pod(Ended, "OOMKilled", inject.AlreadyInjected), EnabledYes, Cause{Why: SidecarEnded, Detail: "OOMKilled"}, "sidecar_ended: OOMKilled"},
		"several pods":           {Running, &Launcher{Rivals: []string{"by-hand"}, Sidecar: Sidecar{State: Up}}, EnabledYes, Cause{Why: Ambiguous}, "ambiguous_pod"},
		"runs, label taken away": {Running, pod(Up, "", inject.AlreadyInjected), EnabledNo, Cause{}, ""},
		"not enabled":            {Running, pod(Absent, "", inject.BestEffort), EnabledNo, Cause{Why: NotEnabled}, "namespace_not_enabled"},
		"refused":                {Running, pod(Absent, "", inject.BestEffort), EnabledYes, Cause{Why: Refused, Reason: inject.BestEffort}, "best_effort"},
		"refused, unread":        {Running, pod(Absent, "", inject.HostNetwork), EnabledUnknown, Cause{Why: Refused, Reason: inject.HostNetwork}, "host_network"},
		"missed":                 {Running, pod(Absent, "", inject.Injected), EnabledYes, Cause{Why: Missed}, "missed"},
		"unread":                 {Running, pod(Absent, "", inject.Injected), EnabledUnknown, Cause{Why: Unread}, "namespace_not_read"},
	}
	t.Run("no node takes it", func(t *testing.T) {
		got := Diagnose(VMI{Phase: "Scheduling", Unschedulable: "no KVM"}, pod(Starting, "", inject.AlreadyInjected), EnabledYes)
		require.Equal(t, Cause{Why: Unschedulable, Detail: "no KVM"}, got)
		require.Equal(t, Cause{}, Diagnose(VMI{Phase: Running, Unschedulable: "no KVM"}, pod(Up, "", inject.AlreadyInjected), EnabledYes), "a VM that runs was scheduled")
	})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Diagnose(VMI{Phase: test.phase}, test.launcher, test.enabled)
			require.Equal(t, test.want, got)
			require.Equal(t, test.short, got.Short())
		})
	}
}

func TestEveryReasonHasATextOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for w := Expected; w <= SidecarEnded; w++ {
		require.NotContains(t, w.String(), "why_")
		require.NotContains(t, seen, w.String())
		require.NotContains(t, Cause{Why: w}.Sentence(), "DETAIL")
		seen[w.String()] = true
	}
}

package inject_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// checkPodSecurity: what passed a Pod Security level before passes it after, by
// the admission plugin's own checks.
func checkPodSecurity(t require.TestingT, before, after *corev1.Pod) {
	for _, level := range []psapi.Level{psapi.LevelBaseline, psapi.LevelRestricted} {
		if passes(t, level, before).Allowed {
			result := passes(t, level, after)
			require.True(t, result.Allowed, "no longer %s: %s", level, result.ForbiddenDetail())
		}
	}
}

// podSecurity is made once: making it takes longer than asking it.
var podSecurity = sync.OnceValues(func() (policy.Evaluator, error) {
	return policy.NewEvaluator(policy.DefaultChecks(), nil)
})

func passes(t require.TestingT, level psapi.Level, pod *corev1.Pod) policy.AggregateCheckResult {
	evaluator, err := podSecurity()
	require.NoError(t, err)
	lv := psapi.LevelVersion{Level: level, Version: psapi.LatestVersion()}
	return policy.AggregateCheckResults(evaluator.EvaluatePod(lv, &pod.ObjectMeta, &pod.Spec))
}

// Without pods that pass a level, checkPodSecurity would check nothing.
func TestInputsReachPodSecurityLevels(t *testing.T) {
	allowed := map[psapi.Level]int{}
	for _, name := range inputs(t) {
		_, podJSON, pod := readInput(t, name)
		if !inject.Decide(testConfig(), pod).Injected() {
			continue
		}
		for _, level := range []psapi.Level{psapi.LevelBaseline, psapi.LevelRestricted} {
			if passes(t, level, decoded(t, podJSON)).Allowed {
				allowed[level]++
			}
		}
	}
	require.Positive(t, allowed[psapi.LevelBaseline])
	require.Positive(t, allowed[psapi.LevelRestricted])
}

package cluster

import (
	"cmp"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhatAnOperatorWatches(t *testing.T) {
	tests := map[string]struct {
		args []string
		// image is of 0.92.1 if it is empty.
		image string
		// monitors and references are the namespaces, of ours and shop, that it watches.
		monitors, references string
	}{
		"no flag":              {nil, "", "ours shop", "ours shop"},
		"a list":               {[]string{"--namespaces=monitoring,ours"}, "", "ours", "ours"},
		"one dash":             {[]string{"-namespaces", "ours"}, "", "ours", "ours"},
		"several flags":        {[]string{"--namespaces=ours", "--namespaces=shop"}, "", "ours shop", "ours shop"},
		"empty is all":         {[]string{"--namespaces=", "--deny-namespaces="}, "", "ours shop", "ours shop"},
		"denied":               {[]string{"--deny-namespaces=ours"}, "", "shop", "shop"},
		"a variable":           {[]string{"--namespaces=$(WATCHED)"}, "", "shop", "shop"},
		"its instances":        {[]string{"--prometheus-instance-namespaces=ours"}, "", "ours shop", "ours"},
		"all references":       {[]string{"--prometheus-instance-namespaces=ours", "--watch-referenced-objects-in-all-namespaces"}, "", "ours shop", "ours shop"},
		"all, but not denied":  {[]string{"--prometheus-instance-namespaces=x", "--watch-referenced-objects-in-all-namespaces=true", "--deny-namespaces=shop"}, "", "ours", "ours"},
		"too old for the flag": {[]string{"--prometheus-instance-namespaces=ours", "--watch-referenced-objects-in-all-namespaces"}, "registry.example:5000/prometheus-operator:v0.85.0@sha256:0", "ours shop", "ours"},
		"of no known version":  {[]string{"--prometheus-instance-namespaces=ours", "--watch-referenced-objects-in-all-namespaces"}, "registry.example:5000/prometheus-operator", "ours shop", "ours"},
		"not all references":   {[]string{"--watch-referenced-objects-in-all-namespaces=false", "--prometheus-instance-namespaces=ours"}, "", "ours shop", "ours"},
		"unknown":              {[]string{"serve", "--new-flag=shop", "--other"}, "", "ours shop", "ours shop"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			operator := OperatorOf(&corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "operators", Name: "operator-x"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
				Spec: corev1.PodSpec{ServiceAccountName: "operator", Containers: []corev1.Container{
					{Name: "kube-rbac-proxy", Args: []string{"--namespaces=proxy"}},
					{Name: "prometheus-operator", Image: cmp.Or(test.image, "quay.io/prometheus-operator/prometheus-operator:v0.92.1"), Args: test.args, Env: []corev1.EnvVar{{Name: "WATCHED", Value: "shop"}}},
				}},
			})
			require.Equal(t, "operators/operator-x", operator.String())
			require.Equal(t, "operator", operator.Account)
			require.Equal(t, test.monitors, watched(operator.WatchesMonitors))
			require.Equal(t, test.references, watched(operator.WatchesReferences))
		})
	}
}

func watched(by func(string) bool) string {
	found := ""
	for _, name := range []string{"ours", "shop"} {
		if by(name) {
			found += " " + name
		}
	}
	if found == "" {
		return ""
	}
	return found[1:]
}

func TestPodsThatAreNoOperator(t *testing.T) {
	pod := func(phase corev1.PodPhase, containers ...string) *corev1.Pod {
		found := &corev1.Pod{Status: corev1.PodStatus{Phase: phase}}
		for _, name := range containers {
			found.Spec.Containers = append(found.Spec.Containers, corev1.Container{Name: name})
		}
		return found
	}
	require.Nil(t, OperatorOf(pod(corev1.PodPending, "prometheus-operator")))
	require.Nil(t, OperatorOf(pod(corev1.PodRunning)))
	require.Nil(t, OperatorOf(pod(corev1.PodRunning, "a", "b")))
	require.Equal(t, "default", OperatorOf(pod(corev1.PodRunning, "rancher-monitoring")).Account)
	ending := pod(corev1.PodRunning, "prometheus-operator")
	ending.DeletionTimestamp = &metav1.Time{}
	require.Nil(t, OperatorOf(ending))
}

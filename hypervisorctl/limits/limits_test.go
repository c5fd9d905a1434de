package limits

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func list(name corev1.ResourceName, value string) corev1.ResourceList {
	return corev1.ResourceList{name: resource.MustParse(value)}
}

// A LimitRange, what it refuses because of the sidecar, and the annotations that help. TestLimitRangesAsTheAPIServer
// compares with an API server.
func TestLimitRanges(t *testing.T) {
	const cpu, memory, disk = corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage
	const container, pod = corev1.LimitTypeContainer, corev1.LimitTypePod
	const ourCPU, ourMemory = inject.AnnotationCPU, inject.AnnotationMemory
	for name, test := range map[string]struct {
		limit corev1.LimitRangeItem
		want  string
		fix   map[string]string
	}{
		"admitted":                           {corev1.LimitRangeItem{Type: container, Min: list(memory, "24Mi")}, "", nil},
		"min of memory":                      {corev1.LimitRangeItem{Type: container, Min: list(memory, "32Mi")}, "min of memory per Container is 32Mi, but the request is 24Mi", map[string]string{ourMemory: "32Mi"}},
		"min of memory, too large":           {corev1.LimitRangeItem{Type: container, Min: list(memory, "300Mi")}, "min of memory per Container is 300Mi, but the request is 24Mi", nil},
		"min of CPU":                         {corev1.LimitRangeItem{Type: container, Min: list(cpu, "20m")}, "min of cpu per Container is 20m, but the request is 10m", map[string]string{ourCPU: "20m"}},
		"what the sidecar does not state":    {corev1.LimitRangeItem{Type: container, Min: list(disk, "1M")}, "min of ephemeral-storage per Container is 1M, but no request is stated", nil},
		"its default counts for the sidecar": {corev1.LimitRangeItem{Type: container, Min: list(disk, "1M"), DefaultRequest: list(disk, "1M")}, "", nil},
		"VMs are refused as well":            {corev1.LimitRangeItem{Type: container, Min: list(memory, "2Gi")}, "", nil},
		"a pod's ratio of CPU":               {corev1.LimitRangeItem{Type: pod, MaxLimitRequestRatio: list(cpu, "2")}, "maxLimitRequestRatio of cpu per Pod is 2, but the limit is 515m and the request 115m", map[string]string{ourCPU: "10m"}},
		"a pod's limit of CPU":               {corev1.LimitRangeItem{Type: pod, Max: list(cpu, "200m")}, "max of cpu per Pod is 200m, but the limit is 515m", map[string]string{ourCPU: "10m"}},
		"a min of the pod is easy":           {corev1.LimitRangeItem{Type: pod, Min: list(memory, "500Mi")}, "", nil},
		"of PersistentVolumeClaims":          {corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Min: list("storage", "1Gi")}, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			launcher, err := cluster.Launcher("shop")
			require.NoError(t, err)
			ranges := []corev1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{test.limit}}}}
			config := inject.Default("r/sidecar:v1")
			config.PullSecrets = []string{"registry"}
			found, err := Refused(config, ranges, Samples(launcher), nil)
			require.NoError(t, err)
			if test.want == "" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			require.Equal(t, test.want, found[0].Text)
			require.Equal(t, "limits", found[0].Range)
			require.Equal(t, test.fix, Fix(config, ranges, Samples(launcher)))
		})
	}
}

func TestLacking(t *testing.T) {
	config := inject.Default("r/sidecar:v1")
	quota := func(hard, used corev1.ResourceList, scopes ...corev1.ResourceQuotaScope) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{Spec: corev1.ResourceQuotaSpec{Scopes: scopes}, Status: corev1.ResourceQuotaStatus{Hard: hard, Used: used}}
	}
	full := quota(list("limits.cpu", "2"), list("limits.cpu", "1995m"))
	require.Equal(t, "limits.cpu: 5m left, 10m needed", Lacking(config, full))
	require.Equal(t, "memory: -1Gi left, 24Mi needed", Lacking(config, quota(list("memory", "1Gi"), list("memory", "2Gi"))), "lowered below what is used")
	require.Empty(t, Lacking(config, quota(list("requests.memory", "1Gi"), list("requests.memory", "1000Mi"))), "24Mi left")
	require.Empty(t, Lacking(config, quota(nil, nil)), "not counted yet")
	require.Empty(t, Lacking(config, quota(list("pods", "0"), nil)), "the sidecar is not a pod")
	require.Empty(t, Lacking(config, quota(list("memory", "0"), nil, corev1.ResourceQuotaScopeBestEffort)))
	require.NotEmpty(t, Lacking(config, quota(list("memory", "0"), nil, corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeNotTerminating)))
	some := quota(list("memory", "0"), nil)
	some.Spec.ScopeSelector = &corev1.ScopeSelector{}
	require.Empty(t, Lacking(config, some), "it may count other pods")
}

package clustertest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/limits"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// Package limits agrees with the API server on many LimitRanges: a pod with the sidecar is refused, and the same pod without
// it is not, if and only if Refused has a rule for it.
func TestLimitRangesAsTheAPIServer(t *testing.T) {
	define(t)
	random := rand.New(rand.NewPCG(1, 13))
	config := inject.Default("registry.example/sidecar:v1")
	launcher, err := cluster.Launcher("")
	require.NoError(t, err)
	judged, because, draws := 0, 0, 100
	if testkit.Soak() {
		draws = 3000
	}
	for i := range draws {
		namespace := server.Namespace(t, fmt.Sprintf("limits-%d", i), nil)
		var ranges []corev1.LimitRange
		for len(ranges) < 1+i%2 {
			one := randomLimits(random)
			one.Spec.Limits = append(one.Spec.Limits, claimLimits[len(ranges)].limit)
			stored, err := server.Client.CoreV1().LimitRanges(namespace).Create(t.Context(), one, metav1.CreateOptions{})
			if apierrors.IsInvalid(err) {
				continue
			}
			require.NoError(t, err)
			awaitLimits(t, namespace, claimLimits[len(ranges)].refused)
			ranges = append(ranges, *stored)
		}
		for _, pod := range limits.Samples(launcher) {
			randomSize(random, pod)
			sidecar, without := "", ""
			for _, order := range limits.Orders(ranges) {
				plain := pod
				if len(ranges) > 1 { // otherwise the API server sets the defaults in an order that it does not show
					plain = limits.WithDefaults(order, pod)
				}
				with, err := limits.Injected(config, order, pod)
				require.NoError(t, err)
				refused := refusedByLimits(t, namespace, plain)
				if refused == "" {
					sidecar += refusedByLimits(t, namespace, with)
				}
				without += refused
			}
			found, err := limits.Refused(config, ranges, []*corev1.Pod{pod}, nil)
			require.NoError(t, err)
			if sidecar == "" && without != "" {
				continue // VMs are refused as well
			}
			require.Equal(t, sidecar != "", len(found) > 0, "%s\n%v\n%+v\n%+v", sidecar, found, ranges, pod.Spec.Containers[0].Resources)
			judged++
			if sidecar != "" {
				because++
			}
		}
	}
	t.Logf("%d pods, of which %d are refused because of the sidecar", judged, because)
	require.Greater(t, judged, 60)
	require.Greater(t, because, 15)
}

// claimLimits are limits of PersistentVolumeClaims, and a size that each refuses and the other does not.
var claimLimits = []struct {
	limit   corev1.LimitRangeItem
	refused string
}{
	{corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Min: corev1.ResourceList{"storage": quantity("10Gi")}}, "1Gi"},
	{corev1.LimitRangeItem{Type: corev1.LimitTypePersistentVolumeClaim, Max: corev1.ResourceList{"storage": quantity("50Gi")}}, "100Gi"},
}

// awaitLimits waits until a claim of the size is refused: the API server reads LimitRanges from a cache, which a new one
// reaches a moment later.
func awaitLimits(t *testing.T, namespace, size string) {
	t.Helper()
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "claim"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": quantity(size)}},
	}}
	testkit.Eventually(t, func() error {
		_, err := server.Client.CoreV1().PersistentVolumeClaims(namespace).Create(t.Context(), claim, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) {
			return nil
		}
		return fmt.Errorf("a claim of %s is not refused yet: %w", size, err)
	})
}

// refusedByLimits returns why the API server refuses the pod: a bound, or a default limit below a request. Empty if it does not.
func refusedByLimits(t *testing.T, namespace string, pod *corev1.Pod) string {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Namespace = namespace
	_, err := server.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil {
		return ""
	}
	require.Regexp(t, ` per |must be less than or equal to`, err)
	return err.Error()
}

// randomLimits are bounds around the sizes of a sidecar and of a small VM.
func randomLimits(random *rand.Rand) *corev1.LimitRange {
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	list := func(name corev1.ResourceName, value string) corev1.ResourceList {
		return corev1.ResourceList{name: quantity(value)}
	}
	limits := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{GenerateName: "limits-"}}
	for range 1 + random.IntN(2) {
		one := corev1.LimitRangeItem{Type: corev1.LimitType(pick("Container", "Container", "Pod"))}
		of := corev1.ResourceName(pick("cpu", "cpu", "memory", "memory", "ephemeral-storage"))
		sizes := map[corev1.ResourceName][]string{
			"cpu": {"1m", "5m", "10m", "15m", "100m", "110m", "120m", "400m", "500m", "600m", "2"}, "ephemeral-storage": {"1M", "60M", "1G"},
			"memory": {"16Mi", "24Mi", "25Mi", "33M", "40Mi", "60M", "100Mi", "420Mi", "430Mi", "460Mi", "500Mi", "2Gi"},
		}[of]
		switch random.IntN(6) {
		case 0, 1, 2:
			one.Min = list(of, pick(sizes[:len(sizes)/2+1]...)) // most VMs are above it
		case 3:
			one.Max = list(of, pick(sizes...))
		case 4:
			one.MaxLimitRequestRatio = list(of, pick("1", "1500m", "2", "3", "4", "10", "50", "60"))
		case 5:
			one.Type = corev1.LimitTypeContainer
			one.Default, one.MaxLimitRequestRatio = list(of, pick(sizes...)), list(of, pick("1", "2", "3", "50"))
		}
		limits.Spec.Limits = append(limits.Spec.Limits, one)
	}
	return limits
}

// randomSize gives the VM's own container another size.
func randomSize(random *rand.Rand, pod *corev1.Pod) {
	compute := &pod.Spec.Containers[0].Resources
	for name, sizes := range map[corev1.ResourceName][]string{"cpu": {"100m", "5m", "1"}, "memory": {"396Mi", "64Mi", "20Mi"}} {
		size := quantity(sizes[random.IntN(len(sizes))])
		compute.Requests[name] = size
		if _, limited := compute.Limits[name]; limited || random.IntN(3) == 0 {
			compute.Limits[name] = size
		}
	}
}

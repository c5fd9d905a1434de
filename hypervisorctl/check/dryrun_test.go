package check

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func newTrial() trial {
	return trial{otherImage: map[string][]string{}, refused: map[string][]string{}, because: map[string][]string{}}
}

func TestTrial(t *testing.T) {
	with := func(image string) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: inject.ContainerName, Image: image}}}}
	}
	found := newTrial()
	found.admit("a", with("i:v1"), "i:v1", true)
	found.admit("b", with("i:v1"), "i:v1", true)
	found.admit("c", with("i:v2"), "i:v1", true)
	found.admit("d", &corev1.Pod{}, "i:v1", true)
	found.admit("e", with("i:v3"), "", true) // the policy's image is not a constant
	found.refuse("f", errors.New(`pods "virt-launcher-1" is forbidden: too small`), true)
	found.refuse("g", errors.New(`pods "virt-launcher-2" is forbidden: too small`), true)
	found.refuse("h", errors.New("no VMs here"), false)
	type short struct {
		level   Level
		text    string
		objects []string
	}
	shorts := func(lines []Line) (all []short) {
		for _, line := range lines {
			require.Equal(t, line.Level != OK, line.Hint != "", line.Text)
			all = append(all, short{line.Level, line.Text, line.Objects})
		}
		return all
	}
	want := []short{
		{Fail, "a virt-launcher pod in the namespace d does not get the sidecar (dry run)", nil},
		{Warn, "a virt-launcher pod in 2 namespaces is refused because of the sidecar, so VMs start without it (dry run): too small", []string{"f", "g"}},
		{Warn, "a virt-launcher pod in the namespace h is refused with and without the sidecar (dry run): no VMs here", nil},
		{Warn, "a virt-launcher pod in the namespace c gets another sidecar image than the webhook's (dry run): i:v2", nil},
		{OK, "a virt-launcher pod in 3 namespaces gets the sidecar (dry run)", []string{"a", "b", "e"}},
	}
	require.Equal(t, want, shorts(found.lines(8, false)))
	require.Equal(t, "a virt-launcher pod in 3 namespaces gets the sidecar (dry run in 10 of 25 enabled namespaces, those with most VMs)",
		found.lines(25, false)[4].Text)
	byPolicy := found.lines(8, true)[1]
	require.Equal(t, Fail, byPolicy.Level, "the policy cannot leave out the sidecar")
	require.Contains(t, byPolicy.Text, "so VMs do not start")
}

// The namespaces with most VMs are tried, at most ten.
func TestNamespacesToTry(t *testing.T) {
	r := &run{namespaces: &namespaces{enabled: []string{"a", "b", "c", "kube-system"}}, population: func() (*population, error) { return nil, nil }}
	r.place.Excluded = []string{"kube-system"}
	for _, namespace := range []string{"b", "c", "c", "kube-system"} {
		r.surveyed = append(r.surveyed, survey.VM{VMI: vm.VMI{Namespace: namespace}})
	}
	names, asking, lines := r.toTry()
	require.Equal(t, []string{"c", "b", "a"}, names)
	require.Equal(t, 3, asking)
	require.Empty(t, lines)
	for i := range 30 {
		r.namespaces.enabled = append(r.namespaces.enabled, string(rune('A'+i)))
	}
	names, asking, _ = r.toTry()
	require.Len(t, names, mostDryRuns)
	require.Equal(t, 33, asking)
}

func TestPullLine(t *testing.T) {
	line := pullLine([]string{"shop/b", "shop/a"}, because("Back-off pulling"), "")
	require.Equal(t, "2 VMs wait for the sidecar's image, and cannot start (Back-off pulling)", line.Text)
	require.Equal(t, []string{"shop/a", "shop/b"}, line.Objects)
	require.Contains(t, pullLine([]string{"a"}, "", `Unable to retrieve "registry"`).Hint, `create the Secret in the VM's namespace: Unable to retrieve "registry"`)
}

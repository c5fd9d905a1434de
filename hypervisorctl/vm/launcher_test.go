package vm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestChoose(t *testing.T) {
	launcher := func(name, node string, created int64, change ...func(*Launcher)) Launcher {
		l := Launcher{Namespace: "shop", Name: name, UID: name, Owner: "a", OwnerName: "web", Node: node, Phase: corev1.PodRunning, Created: time.Unix(created, 0)}
		for _, one := range change {
			one(&l)
		}
		return l
	}
	ended := func(l *Launcher) { l.Phase = corev1.PodSucceeded }
	web := VMI{Namespace: "shop", Name: "web", UID: "a", Node: "node-1"}
	tests := map[string]struct {
		vmi       VMI
		launchers []Launcher
		want      string
		rivals    []string
	}{
		"the one on its node, during a migration": {web, []Launcher{launcher("source", "node-1", 1), launcher("target", "node-2", 2)}, "source", nil},
		"none on its node":                        {web, []Launcher{launcher("other", "node-2", 1)}, "", nil},
		"not scheduled yet":                       {VMI{Namespace: "shop", Name: "web", UID: "a"}, []Launcher{launcher("new", "", 1)}, "new", nil},
		"back on a node":                          {web, []Launcher{launcher("now", "node-1", 2), launcher("before", "node-1", 1, ended)}, "now", nil},
		"an ended one is newer":                   {web, []Launcher{launcher("now", "node-1", 1), launcher("fake", "node-1", 2, ended)}, "now", nil},
		"all ended: the newest":                   {web, []Launcher{launcher("old", "node-1", 1, ended), launcher("new", "node-1", 2, ended)}, "new", nil},
		"two run on its node":                     {web, []Launcher{launcher("real", "node-1", 1), launcher("by-hand", "node-1", 2)}, "by-hand", []string{"real"}},
		"listed twice":                            {web, []Launcher{launcher("real", "node-1", 1), launcher("real", "node-1", 1)}, "real", nil},
		"another VMI's":                           {web, []Launcher{launcher("x", "node-1", 1, func(l *Launcher) { l.Owner = "b" })}, "", nil},
		"the UID under another name":              {web, []Launcher{launcher("x", "node-1", 1, func(l *Launcher) { l.OwnerName = "db" })}, "", nil},
		"in another namespace":                    {web, []Launcher{launcher("x", "node-1", 1, func(l *Launcher) { l.Namespace = "evil" })}, "", nil},
		"KubeVirt names another": {VMI{Namespace: "shop", Name: "web", UID: "a", Node: "node-1", ActivePods: []string{"real"}},
			[]Launcher{launcher("real", "node-1", 1), launcher("by-hand", "node-1", 2)}, "real", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := Choose(test.vmi, test.launchers)
			if test.want == "" {
				require.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			require.Equal(t, test.want, got.Name)
			require.Equal(t, test.rivals, got.Rivals)
		})
	}
}

// A pod belongs to the VMI that controls it, whatever its labels and annotations say.
func TestOwner(t *testing.T) {
	yes := true
	reference := func(change func(*metav1.OwnerReference)) []metav1.OwnerReference {
		r := metav1.OwnerReference{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: "web", UID: "a", Controller: &yes}
		change(&r)
		return []metav1.OwnerReference{r}
	}
	tests := map[string]struct {
		change func(*metav1.OwnerReference)
		owner  string
	}{
		"the VMI's":         {func(*metav1.OwnerReference) {}, "a"},
		"a later version":   {func(r *metav1.OwnerReference) { r.APIVersion = "kubevirt.io/v2" }, "a"},
		"not a controller":  {func(r *metav1.OwnerReference) { r.Controller = nil }, ""},
		"another kind":      {func(r *metav1.OwnerReference) { r.Kind = "ReplicaSet" }, ""},
		"another API group": {func(r *metav1.OwnerReference) { r.APIVersion = "evil.example/v1" }, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				OwnerReferences: reference(test.change),
				Labels:          map[string]string{"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": "db", "kubevirt.io/domain": "db"},
				Annotations:     map[string]string{"kubevirt.io/domain": "db"},
			}}
			got := FromPod(inject.Default("i:v1"), pod)
			require.Equal(t, test.owner, got.Owner)
			if test.owner != "" {
				require.Equal(t, "web", got.OwnerName)
			}
		})
	}
}

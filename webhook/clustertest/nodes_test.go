package clustertest

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// nodes are labels of nodes as platforms give them, and whether the relay runs there. The other pods need only an image.
var nodes = map[string]struct {
	labels       map[string]string
	relay, other bool
}{
	"amd64":            {map[string]string{"kubernetes.io/arch": "amd64"}, true, true},
	"arm64":            {map[string]string{"kubernetes.io/arch": "arm64", "type": "physical"}, true, true},
	"s390x":            {map[string]string{"kubernetes.io/arch": "s390x", "eks.amazonaws.com/compute-type": "ec2"}, true, true},
	"ppc64le":          {map[string]string{"kubernetes.io/arch": "ppc64le"}, false, false},
	"riscv64":          {map[string]string{"kubernetes.io/arch": "riscv64"}, false, false},
	"Windows":          {map[string]string{"kubernetes.io/arch": "amd64", "kubernetes.io/os": "windows"}, false, false},
	"Fargate":          {map[string]string{"kubernetes.io/arch": "amd64", "eks.amazonaws.com/compute-type": "fargate"}, false, true},
	"AKS virtual node": {map[string]string{"kubernetes.io/arch": "amd64", "type": "virtual-kubelet"}, false, true},
	"virtual kubelet without labels of a kubelet": {map[string]string{"type": "virtual-kubelet", "kubernetes.io/role": "agent"}, false, false},
	"Liqo": {map[string]string{"kubernetes.io/arch": "amd64", "liqo.io/type": "virtual-node"}, false, true},
}

// Each pod of ours runs where its image does, and the relay where VMs can. What decides is the function that the
// DaemonSet controller and the scheduler call.
func TestPodsRunWhereTheirImagesDo(t *testing.T) {
	eachPod(t, func(t *testing.T, _ string, object *unstructured.Unstructured, _ corev1.Pod) {
		for name, node := range nodes {
			want := node.other
			if object.GetKind() == "DaemonSet" {
				want = node.relay
			}
			require.Equal(t, want, fits(t, object, node.labels), name)
		}
	})
}

// A node that is broken counts as unavailable (pkg/controller/daemon update.go, rollingUpdate); the rollout goes on while
// one more may be.
func TestRolloutPassesBrokenNodes(t *testing.T) {
	strategy := decode[appsv1.DaemonSet](t, find(t, render(t, "."), "DaemonSet", relayName)).Spec.UpdateStrategy.RollingUpdate
	for nodes, broken := range map[int]int{1: 0, 2: 0, 3: 1, 6: 2, 9: 3, 100: 33} {
		unavailable, err := intstr.GetScaledValueFromIntOrPercent(strategy.MaxUnavailable, nodes, true)
		require.NoError(t, err)
		require.Greater(t, unavailable, broken, "%d nodes", nodes)
		require.LessOrEqual(t, unavailable, nodes/3+1, "a bad image stops at a third")
	}
}

// fits reports whether the workload's pods may run on a node with the labels. Taints are left out: the relay tolerates all.
func fits(t *testing.T, workload *unstructured.Unstructured, labels map[string]string) bool {
	t.Helper()
	all := map[string]string{"kubernetes.io/os": "linux"}
	for key, value := range labels {
		all[key] = value
	}
	pod := decode[corev1.Pod](t, podOf(t, workload))
	fits, err := nodeaffinity.GetRequiredNodeAffinity(&pod).Match(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", Labels: all}})
	require.NoError(t, err)
	return fits
}

package clustertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// What a node lends the relay: root's files, to read, and nothing else; in every overlay that has one.
func TestRelayIsConfined(t *testing.T) {
	for _, folder := range renderings() {
		found := 0
		for _, object := range render(t, folder) {
			if object.GetKind() == "DaemonSet" {
				found++
				t.Run(folder, func(t *testing.T) { requireConfined(t, folder, decode[appsv1.DaemonSet](t, object)) })
			}
		}
		require.Equal(t, !has(folder, "direct"), found == 1, folder)
	}
}

func requireConfined(t *testing.T, folder string, set appsv1.DaemonSet) {
	t.Helper()
	require.Equal(t, "34%", set.Spec.UpdateStrategy.RollingUpdate.MaxUnavailable.String(), "a broken node does not stop the rest")
	pod := set.Spec.Template.Spec
	require.Empty(t, pod.PriorityClassName, "no VM makes room for the relay")
	require.Equal(t, has(folder, "host-network"), pod.HostNetwork)
	require.False(t, pod.HostPID || pod.HostIPC)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.Len(t, pod.Containers, 1)
	relay := pod.Containers[0]
	require.EqualValues(t, 0, *relay.SecurityContext.RunAsUser, "the kubelet's folders are root's")
	require.Equal(t, "spc_t", relay.SecurityContext.SELinuxOptions.Type)
	security := relay.SecurityContext
	require.Nil(t, security.Privileged)
	require.False(t, *security.AllowPrivilegeEscalation)
	require.True(t, *security.ReadOnlyRootFilesystem)
	require.Equal(t, &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, security.Capabilities)
	require.Nil(t, security.SeccompProfile, "the pod's holds")
	requireOneFolder(t, kubeletPods(folder), pod, relay)
}

// requireOneFolder checks that of the node's files the relay alone sees this folder, and cannot write to it.
func requireOneFolder(t *testing.T, dir string, pod corev1.PodSpec, relay corev1.Container) {
	t.Helper()
	var fromNode []string
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			require.Equal(t, dir, volume.HostPath.Path)
			fromNode = append(fromNode, volume.Name)
		}
	}
	require.Len(t, fromNode, 1)
	for _, mount := range relay.VolumeMounts {
		require.True(t, mount.ReadOnly, mount.Name)
		require.Nil(t, mount.MountPropagation, mount.Name)
		if mount.Name == fromNode[0] {
			require.Equal(t, dir, mount.MountPath)
			require.Equal(t, "--kubelet-pods-dir="+dir, relay.Args[0])
			require.NotNil(t, mount.RecursiveReadOnly)
			require.Equal(t, corev1.RecursiveReadOnlyIfPossible, *mount.RecursiveReadOnly, "what is mounted below, too")
		}
	}
}

// The relay may ask who a user is and what they may do, and read nothing.
func TestRelayMayDoNoMore(t *testing.T) {
	install(t, ".")
	client := server.As(t, server.Token(t, relayNamespace, "hypervisor-exporter-relay"))
	eventually(t, func() bool { // the authorizer learns of bindings a moment later
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "x"}}
		_, err := client.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{})
		return err == nil
	})
	_, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	_, err = client.CoreV1().Secrets(relayNamespace).Get(t.Context(), "hypervisor-exporter-relay-ca", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
	// The certificate process has no right to the scraper's token.
	certs := server.As(t, server.Token(t, productNamespace, "hypervisor-exporter-certs"))
	_, err = certs.CoreV1().Secrets(relayNamespace).Get(t.Context(), "hypervisor-exporter-scraper", metav1.GetOptions{})
	require.True(t, apierrors.IsForbidden(err), "%v", err)
}

// Prometheus' token opens the two paths that the relay asks about, and no other; the relay's own token opens none.
func TestScraperMayScrape(t *testing.T) {
	install(t, ".")
	user := func(account string) string { return "system:serviceaccount:" + relayNamespace + ":" + account }
	for _, test := range []struct {
		user, path string
		want       bool
	}{
		{user("hypervisor-exporter-scraper"), "/metrics/vmis", true},
		{user("hypervisor-exporter-scraper"), "/metrics", true},
		{user("hypervisor-exporter-scraper"), "/metrics/slis", false},
		{user("hypervisor-exporter-relay"), "/metrics/vmis", false},
		{user("default"), "/metrics/vmis", false},
	} {
		eventually(t, func() bool {
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				User:                  test.user,
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: test.path, Verb: "get"},
			}}
			answer, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
			return err == nil && answer.Status.Allowed == test.want
		}, "%v", test)
	}
}

// In the overlay the relay has neither a token nor a right, and Prometheus sends none.
func TestRelayWithoutAuthorization(t *testing.T) {
	for _, object := range render(t, "overlays/relay-without-authorization") {
		require.NotContains(t, object.GetName(), "scraper")
		require.False(t, object.GetKind() == "ClusterRoleBinding" && strings.HasSuffix(object.GetName(), "-relay"))
		if object.GetKind() == "PodMonitor" {
			endpoint := object.Object["spec"].(map[string]any)["podMetricsEndpoints"].([]any)[0]
			require.NotContains(t, endpoint, "authorization", object.GetName())
		}
	}
}

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

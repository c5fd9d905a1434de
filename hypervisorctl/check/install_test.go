package check

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/limits"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestNodesThatNeedNoRelay(t *testing.T) {
	node := func(change func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{}}, Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{Architecture: "amd64"}, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}}
		change(n)
		return n
	}
	for name, test := range map[string]struct {
		change func(*corev1.Node)
		spared bool
	}{
		"ready":              {func(*corev1.Node) {}, false},
		"other architecture": {func(n *corev1.Node) { n.Status.NodeInfo.Architecture = "ppc64le" }, true},
		"not ready":          {func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }, true},
		"virtual kubelet":    {func(n *corev1.Node) { n.Labels["type"] = "virtual-kubelet" }, true},
		"fargate":            {func(n *corev1.Node) { n.Labels["eks.amazonaws.com/compute-type"] = "fargate" }, true},
		"liqo":               {func(n *corev1.Node) { n.Labels["liqo.io/type"] = "virtual-node" }, true},
	} {
		require.Equal(t, test.spared, needsNoRelay(node(test.change)), name)
	}
	pods := []corev1.Pod{{Spec: corev1.PodSpec{NodeName: "away"}}}
	require.Equal(t, OK, relayLines(pods, nil, map[string]bool{"away": true}, "")[0].Level)
	require.Equal(t, Warn, relayLines(pods, nil, nil, "")[0].Level)
}

func TestImages(t *testing.T) {
	spec := &corev1.PodSpec{InitContainers: []corev1.Container{{Name: "other", Image: "x"}, {Name: "sidecar-image", Image: "r/sidecar:v1"}}}
	require.Equal(t, "r/sidecar:v1", pulled(spec))
	require.Empty(t, imageLine("r/sidecar:v1", pulled(spec), "the webhook's pods"))
	require.Empty(t, imageLine("", pulled(spec), "the webhook's pods"), "a policy that takes it from elsewhere")
	require.Empty(t, imageLine("r/sidecar:v1", pulled(&corev1.PodSpec{}), "the webhook's pods"), "overlays/direct has no relay")
	require.Equal(t, "r/own:v1", pulled(&corev1.PodSpec{Containers: []corev1.Container{{Image: "r/own:v1"}}}), "after v0.1.0")
	line := imageLine("r/sidecar:v2", pulled(spec), "the relay's pods")[0]
	require.Equal(t, Fail, line.Level)
	require.Contains(t, line.Text, "r/sidecar:v2, but the relay's pods pull r/sidecar:v1")
}

func TestPullSecrets(t *testing.T) {
	ours := []corev1.LocalObjectReference{{Name: "registry"}}
	for server, want := range map[string]int{"v1.34.9": 0, "v1.35.0": 1, "v1.36.3+rke2r1": 1, "v1.35.0-eks-1": 1, "v2.0.0": 1, "nonsense": 0} {
		require.Len(t, secretLine(server, ours, inject.Config{}), want, server)
		require.Empty(t, secretLine(server, ours, inject.Config{PullSecrets: []string{"registry"}}), "the webhook knows")
		require.Empty(t, secretLine(server, ours, inject.Config{PullSecrets: []string{}}), "the webhook knows that the image needs none")
		require.Empty(t, secretLine(server, nil, inject.Config{}), "no password")
		require.Len(t, secretLine(server, ours, inject.Config{ImagePullPolicy: corev1.PullAlways}), 1, "the registry is asked each time")
	}
	line := secretLine("v1.36.3", ours, inject.Config{})[0]
	require.Equal(t, Fail, line.Level)
	require.Contains(t, line.Hint, "--sidecar-image-pull-secrets=registry")
}

const quotaRefusal = `Error creating: pods "x-abcde" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [system-node-critical system-cluster-critical]}]`

func TestRefusedDeployment(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "hypervisor-exporter-webhook"}}
	require.Empty(t, refusedDeployment(deployment))
	deployment.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: quotaRefusal + strings.Repeat("x", 5000)}}
	line := refusedDeployment(deployment)[0]
	require.Equal(t, Fail, line.Level)
	require.Contains(t, line.Text, "pods of Deployment hypervisor-exporter-webhook are refused: Error creating: ")
	require.Contains(t, line.Hint, "ResourceQuota")
	require.Less(t, len(line.Text), 400, "the text of others is bounded")
	deployment.Status.Conditions[0].Status = corev1.ConditionFalse
	require.Empty(t, refusedDeployment(deployment))
}

func TestRefusedRelay(t *testing.T) {
	event := func(name, message string, at int64) corev1.Event {
		return corev1.Event{InvolvedObject: corev1.ObjectReference{Name: name}, Message: message, LastTimestamp: metav1.Unix(at, 0)}
	}
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "hypervisor-exporter-relay", Namespace: "relays"}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, CurrentNumberScheduled: 3}}
	events := []corev1.Event{event(set.Name, quotaRefusal, 9), event(set.Name, "older", 8), event("another", "of another", 10)}
	require.Empty(t, refusedSet(set, events), "an old event of pods that are there by now")
	set.Status.CurrentNumberScheduled = 1
	line := refusedSet(set, events)[0]
	require.Equal(t, Fail, line.Level)
	require.Contains(t, line.Text, "2 nodes have no pod of the relay: Error creating: ")
	require.Contains(t, line.Hint, "ResourceQuota")
	require.Contains(t, refusedSet(set, nil)[0].Hint, "kubectl -n relays describe daemonset hypervisor-exporter-relay")
}

func TestFolder(t *testing.T) {
	const wrong = `{"level":"ERROR","msg":"not ready: the kubelet's folder of pods cannot be used","err":"--kubelet-pods-dir=/var/lib/kubelet/pods is not where this node's kubelet keeps its pods: the relay's own pod u is not in it"}`
	const good = `{"level":"INFO","msg":"the kubelet's folder of pods can be used now"}`
	for name, test := range map[string]struct{ log, want string }{
		"wrong":                  {`{"msg":"serving"}` + "\n" + wrong + "\n{}\n", "--kubelet-pods-dir=/var/lib/kubelet/pods"},
		"was wrong":              {wrong + "\n" + good + "\n", ""},
		"wrong again":            {good + "\n" + wrong, "--kubelet-pods-dir=/var/lib/kubelet/pods"},
		"not ready for another":  {`{"level":"ERROR","msg":"certificate"}`, ""},
		"nothing":                {"", ""},
		"flags logged at start":  {`{"args":"--kubelet-pods-dir=/x"}`, ""},
		"cut off in the message": {wrong[:130], ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, wrongFolder([]byte(test.log))) })
	}
}

// FuzzWrongFolder: a relay's log may contain anything.
func FuzzWrongFolder(f *testing.F) {
	f.Add([]byte("not ready --kubelet-pods-dir=/a is not where it is\nthe kubelet's folder of pods can be used now"))
	f.Add([]byte("not ready --kubelet-pods-dir=\xff is not where "))
	f.Fuzz(func(t *testing.T, log []byte) {
		flag := wrongFolder(log)
		require.True(t, flag == "" || strings.HasPrefix(flag, folderFlag), flag)
		require.LessOrEqual(t, utf8.RuneCountInString(flag), 300)
		require.NotContains(t, flag, "\n")
	})
}

func TestLimits(t *testing.T) {
	launcher, err := cluster.Launcher("")
	require.NoError(t, err)
	pods, config := limits.Samples(launcher), inject.Default("r/sidecar:v1")
	memory := func(least string) []corev1.LimitRange {
		return []corev1.LimitRange{{ObjectMeta: metav1.ObjectMeta{Name: "limits"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(least)},
		}}}}}
	}
	byNamespace := map[string][]corev1.LimitRange{"shop": memory("32Mi"), "store": memory("32Mi"), "roomy": memory("16Mi"), "none": nil}
	lines, err := limitLines(config, byNamespace, pods, false)
	require.NoError(t, err)
	require.Len(t, lines, 1, "one line for all namespaces with the same rule")
	require.Equal(t, Warn, lines[0].Level)
	require.Equal(t, "LimitRanges refuse VMs with the sidecar, so VMs start without it: min of memory per Container is 32Mi, but the request is 24Mi", lines[0].Text)
	require.Equal(t, []string{"shop/limits", "store/limits"}, lines[0].Objects)
	require.Contains(t, lines[0].Hint, "hypervisor-exporter.kubevirt.io/memory: 32Mi")
	lines, err = limitLines(config, byNamespace, pods, true)
	require.NoError(t, err)
	require.Equal(t, Fail, lines[0].Level, "the policy cannot leave out the sidecar")
	require.Contains(t, lines[0].Text, "VMs do not start")
}

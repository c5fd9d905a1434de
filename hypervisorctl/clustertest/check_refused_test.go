package clustertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

const tooSmall = "minimum memory usage per Container is 32Mi, but request is 24Mi"

// Check names what keeps pods from starting, VMs' and ours, with the rights of rbac.yaml.
func TestCheckNamesWhatRefusesPods(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	namespace := server.Namespace(t, "refusing", labelled())
	check := func() string {
		return callAs(t, reader(), "check", "-n", namespace, "--source=none").out
	}

	t.Run("a LimitRange", func(t *testing.T) {
		refuseSmall(t, namespace)
		require.Regexp(t, `warn  LimitRanges refuse VMs with the sidecar, so VMs start without it: min of memory per Container is 32Mi, but the request is 24Mi\n +`+
			namespace+`/limits\n +hint: .*hypervisor-exporter.kubevirt.io/memory: 32Mi`, check())
	})
	t.Run("a quota", func(t *testing.T) {
		quotas := server.Client.CoreV1().ResourceQuotas(namespace)
		hard := corev1.ResourceList{"requests.memory": quantity("1Gi")}
		stored, err := quotas.Create(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "quota"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.NotContains(t, check(), "ResourceQuotas have no room", "nothing is known yet of what is used")
		stored.Status = corev1.ResourceQuotaStatus{Hard: hard, Used: corev1.ResourceList{"requests.memory": quantity("1020Mi")}}
		_, err = quotas.UpdateStatus(t.Context(), stored, metav1.UpdateOptions{})
		require.NoError(t, err)
		require.Contains(t, check(), namespace+"/quota (requests.memory: 4Mi left, 24Mi needed)")
	})
	t.Run("VMs that were refused", func(t *testing.T) {
		other := server.Namespace(t, "refused", labelled())
		pod := testVM{namespace: other, name: "early", fixture: "masq", node: "node-1", without: true}.create(t)
		failedCreate(t, other, "VirtualMachineInstance", "early", pod.OwnerReferences[0].UID, `Error creating pod: pods "virt-launcher-early-abcde" is forbidden: `+tooSmall)
		never := testVM{namespace: other, name: "never", phase: "Pending"}.vmi(t)
		failedCreate(t, other, "VirtualMachineInstance", "never", never.GetUID(), "Error creating pod: admission webhook \"images.example\" denied the request: image\x1b[2J not allowed")

		args := append([]string{"-n", other, "--source=none"}, reader()...)
		got := call(t, administrator(t), append([]string{"check"}, args...)...).out
		require.Regexp(t, `warn  1 VM has no metric: refused_before: the API server refused its pods with the sidecar, so it started without: `+tooSmall+`\n +`+other+`/early`, got)
		require.Regexp(t, `warn  1 VM has no metric: pods_refused: .* refuses its pods: admission webhook "images.example" denied the request: image\\u001b\[2J not allowed\n +`+other+`/never`, got)
		got = call(t, administrator(t), append([]string{"list"}, args...)...).out
		require.Regexp(t, `(?m)^early .* refused_before `, got)
		require.Regexp(t, `(?m)^never .* pods_refused `, got)
		got = call(t, administrator(t), append([]string{"explain", "early"}, args...)...).out
		require.Contains(t, got, "so it started without: "+tooSmall)

		without := append([]string{"list", "-n", other, "--source=none"}, as("somebody", "system:authenticated")...)
		require.NoError(t, grant(t, other, "somebody", []string{"kubevirt.io"}, []string{"virtualmachineinstances"}, "list"))
		require.NoError(t, grant(t, other, "somebody", []string{""}, []string{"pods"}, "list"))
		denied := call(t, administrator(t), without...)
		require.Zero(t, denied.code, denied.err)
		require.Contains(t, denied.out, "early")
		require.NotContains(t, denied.out, "refused_before")
		require.Contains(t, denied.err, "not known what refused pods: you may not list events in the namespace "+other)
	})
	t.Run("the webhook's pods", func(t *testing.T) {
		patchStatus(t, `{"status":{"conditions":[{"type":"ReplicaFailure","status":"True","reason":"FailedCreate","message":"pods \"x\" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [system-cluster-critical]}]"}]}}`)
		require.Regexp(t, `fail  pods of Deployment hypervisor-exporter-webhook are refused: .*insufficient quota to match these scopes.*\n +hint: .*ResourceQuota`, check())
	})
	t.Run("the relay's pods", func(t *testing.T) {
		sets := server.Client.AppsV1().DaemonSets(cluster.RelayNamespace)
		set, err := sets.Patch(t.Context(), cluster.Relay, types.MergePatchType, []byte(`{"status":{"desiredNumberScheduled":2,"currentNumberScheduled":1,"numberMisscheduled":0,"numberReady":1}}`), metav1.PatchOptions{}, "status")
		require.NoError(t, err)
		failedCreate(t, cluster.RelayNamespace, "DaemonSet", set.Name, set.UID, `Error creating: pods "hypervisor-exporter-relay-x" is forbidden: not today`)
		require.Contains(t, check(), `fail  1 node has no pod of the relay: Error creating: pods "hypervisor-exporter-relay-x" is forbidden: not today`)
	})
	t.Run("a relay with the wrong folder", func(t *testing.T) {
		k := &kubelet{}
		serveKubelet(t, "node-5", k)
		log := `{"level":"INFO","msg":"serving"}` + "\n" +
			`{"level":"ERROR","msg":"not ready: the kubelet's folder of pods cannot be used","err":"--kubelet-pods-dir=/var/lib/kubelet/pods is not where this node's kubelet keeps its pods: ` + "\x1b[2J" + `"}` + "\n"
		_, err := server.Client.CoreV1().Pods(cluster.RelayNamespace).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "relay-5", Labels: map[string]string{"app.kubernetes.io/name": "kubevirt-hypervisor-exporter", "app.kubernetes.io/component": "relay"}},
			Spec:       corev1.PodSpec{NodeName: "node-5", ServiceAccountName: cluster.Relay, AutomountServiceAccountToken: new(bool), Containers: []corev1.Container{restricted("relay", nil)}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Regexp(t, `warn  the relay of these nodes has not started: its log was not checked\n +node-5`, check())
		k.log = log
		require.Regexp(t, `fail  the relay of these nodes finds no VM, because its own pod is not in --kubelet-pods-dir=/var/lib/kubelet/pods\n +node-5\n +hint: .*relay.kubeletPodsDir`, check())
	})
	t.Run("another image", func(t *testing.T) {
		require.NotContains(t, check(), "VMs get the sidecar image")
		patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"relay","image":"registry.example/own:v2"}]}}}}`)
		_, err := server.Client.AppsV1().DaemonSets(cluster.RelayNamespace).Patch(t.Context(), cluster.Relay, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		require.NoError(t, err)
		require.Regexp(t, `fail  VMs get the sidecar image registry.example/kubevirt-hypervisor-exporter:v0.1.0, but the relay's pods pull registry.example/own:v2`, check())
		// An installation without the policy on images that the manifests may bring.
		err = server.Client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(t.Context(), cluster.Webhook, metav1.DeleteOptions{})
		require.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
		patch = []byte(`{"spec":{"template":{"spec":{"imagePullSecrets":[{"name":"registry"}],"containers":[{"name":"webhook","env":[{"name":"SIDECAR_IMAGE","value":"registry.example/sidecar:v3"}]}]}}}}`)
		eventually(t, func() bool { // the API server watches its policies
			_, err := server.Client.AppsV1().Deployments(cluster.ExporterNamespace).Patch(t.Context(), cluster.Webhook, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
			return err == nil
		})
		got := check()
		require.Regexp(t, `fail  VMs get the sidecar image registry.example/sidecar:v3, but the webhook's pods pull registry.example/kubevirt-hypervisor-exporter`, got)
		require.Contains(t, got, "fail  our pods pull with a Secret (registry), but the webhook has no --sidecar-image-pull-secrets")
	})
}

// refuseSmall makes a LimitRange that no sidecar of the default size passes.
func refuseSmall(t *testing.T, namespace string) {
	t.Helper()
	_, err := server.Client.CoreV1().LimitRanges(namespace).Create(t.Context(), &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Name: "limits"},
		Spec:       corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{"memory": quantity("32Mi")}}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

// failedCreate is an event as controllers write it.
func failedCreate(t *testing.T, namespace, kind, name string, uid types.UID, message string) {
	t.Helper()
	now := metav1.NewTime(time.Now().Add(-time.Second))
	_, err := server.Client.CoreV1().Events(namespace).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: name + "-", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name, UID: uid},
		Reason:         "FailedCreate", Message: message, Type: corev1.EventTypeWarning, FirstTimestamp: now, LastTimestamp: now, Count: 3,
	}, metav1.CreateOptions{})
	require.NoError(t, err)
}

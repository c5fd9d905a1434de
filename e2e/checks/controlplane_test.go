package checks

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// While the webhook is gone, VMs start without a sidecar, and that is reported: that no webhook is there, that the API
// server goes on without it, and which VM has no sidecar for that.
func TestWebhookGone(t *testing.T) {
	f := connect(t)
	f.awaitNewPods(vm{namespace: labelled, name: "webhook"}, "a sidecar while the webhook is there", hasSidecar)
	f.awaitNoFormerWebhook()
	f.scale(webhook, "webhook", 0, 2)
	v := vm{namespace: labelled, name: "no-webhook"}
	t.Logf("VM started in %.1f s without a webhook", f.start(v).Seconds())
	require.False(t, hasSidecar(f.pod(v)))
	f.requireMissed(v)

	// The counter has no series before its first event, and Prometheus may be too young to know that there was none: a second
	// event, after the first was scraped, is one that the alert cannot miss.
	f.awaitSeries(`apiserver_admission_webhook_fail_open_count{name="inject.hypervisor-exporter.kubevirt.io"}`)
	f.create(vm{namespace: labelled, name: "bypass", node: nowhere})
	f.awaitOwnAlert("HypervisorExporterWebhookBypassed", map[string]string{})
	alerts := map[string]map[string]string{"HypervisorExporterWebhookDown": {}, "VirtualMachineWithoutHypervisorMetric": vmLabels(v, f.pod(v), "")}
	for name, labels := range alerts {
		f.awaitAlert(name, labels)
	}
	f.setReplicas(webhook, "webhook", 2)
	f.removeNow(v)
	for name, labels := range alerts {
		f.awaitResolved(name, labels)
	}
}

// An image that is missing on the node does not hold VMs: the webhook that would inject it never starts to serve.
func TestImageMissing(t *testing.T) {
	f := connect(t)
	const missing = "e2e.local/missing:1"
	set := func(image string) {
		patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"webhook","image":%q,"env":[{"name":"SIDECAR_IMAGE","value":%[1]q}]}]}}}}`, image)
		_, err := f.AppsV1().Deployments(cluster.Product).Patch(f.ctx, webhook, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		f.must(err)
	}
	image := f.productImage()
	t.Cleanup(func() {
		set(image)
		f.must(f.WaitRollout(f.ctx, cluster.Product, "Deployment", webhook))
	})
	set(missing)
	f.until("a replica that cannot start", func() bool {
		return slices.ContainsFunc(f.pods(cluster.Product, ""), func(pod corev1.Pod) bool {
			s := status(&pod, "webhook")
			return s.Image == missing && s.State.Waiting != nil && s.State.Waiting.Reason != "ContainerCreating"
		})
	}, nil)
	v := vm{namespace: labelled, name: "image-missing"}
	f.start(v)
	for _, c := range f.pod(v).Spec.InitContainers {
		require.NotEqual(t, missing, c.Image)
	}
}

// A client sends the webhook a request that it cannot answer. That is counted, and fires no alert: anyone who reaches
// the port can send such requests.
func TestWebhookAsked(t *testing.T) {
	t.Parallel()
	f := connect(t)
	f.sendWrongRequest()
	f.awaitSeries(`sum(hypervisor_exporter_webhook_rejected_requests_total{reason="wrong_method"}) > 0`)
	_, _, others := f.alerts("HypervisorExporterWebhookErrors", nil)
	require.Empty(t, others)
	f.requireNoAlert("HypervisorExporterWebhookErrors", map[string]string{})
}

// sendWrongRequest sends the webhook a GET, as anyone who reaches the port can.
func (f *framework) sendWrongRequest() {
	service, err := f.CoreV1().Services(cluster.Product).Get(f.ctx, webhook, metav1.GetOptions{})
	f.must(err)
	output := f.run("curl", "-sk", "-m", "60", "-w", "%{http_code}", "https://"+net.JoinHostPort(service.Spec.ClusterIP, "443")+"/mutate")
	require.Contains(f.t, output, "405")
}

// While etcd answers slowly, VMs run on; one that is created meanwhile starts once etcd answers again.
func TestEtcdSlow(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "etcd"}
	f.start(v)
	for range 4 {
		f.must(f.node.Signal(f.ctx, "etcd", syscall.SIGSTOP))
		time.Sleep(2 * time.Second) // etcd's pause
		f.must(f.node.Signal(f.ctx, "etcd", syscall.SIGCONT))
		time.Sleep(500 * time.Millisecond)
	}
	f.eventually("the API server to answer, and the VM to run", func() error { return f.isIn(v, "Running") })
	require.Zero(t, f.sidecarState(v).RestartCount)
	f.start(vm{namespace: labelled, name: "etcd-new"})
}

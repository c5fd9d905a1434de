package checks

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

const webhook = "hypervisor-exporter-webhook"

// A sidecar that hangs, or has no memory left, leaves the VM alone.
func TestSidecarStopped(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "stopped"}
	w.start(t, v)
	compute := w.computeID(t, v)
	w.stopSidecar(t, v)
	other := vm{namespace: labelled, name: "stopped-other"}
	w.start(t, other)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	pod := w.pod(t, v)
	require.Equal(t, compute, w.computeID(t, v))
	require.True(t, isReady(pod), "a sidecar that hangs changes nothing for the pod")
	// Its guest has no system to obey the power button: KubeVirt ends it after the VM's grace period.
	without := vm{namespace: plain, name: "stopped-without"}
	w.start(t, without)
	for _, gone := range []vm{without, other, v} {
		started := time.Now()
		w.remove(t, gone)
		t.Logf("%s/%s gone %.1f s after it was deleted", gone.namespace, gone.name, time.Since(started).Seconds())
	}
}

// A sidecar without memory is restarted by the kubelet, and the VM goes on.
func TestSidecarOutOfMemory(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "oom"}
	w.start(t, v)
	compute := w.computeID(t, v)
	pod := w.pod(t, v)
	pid, err := w.containerPID(t.Context(), pod, sidecar)
	require.NoError(t, err)
	// A process put into its cgroup eats the memory that is left; the kernel is told to end the sidecar first.
	_, err = w.node.Run(t.Context(), "sh", "-c", fmt.Sprintf(
		`echo 1000 > /proc/%[1]s/oom_score_adj; c=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%[1]s/cgroup); echo $$ > $c/cgroup.procs; exec tail /dev/zero`, pid))
	require.Error(t, err, "the eater is ended too")
	eventually(t, patience, "the sidecar to be ended and to run again", func(context.Context) error {
		if s := sidecarStatus(w.pod(t, v)); s.State.Running == nil || s.RestartCount == 0 {
			return errors.New(cluster.ContainerState(s))
		}
		return nil
	})
	last := sidecarStatus(w.pod(t, v)).LastTerminationState.Terminated
	require.NotNil(t, last)
	require.Equal(t, "OOMKilled", last.Reason)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	t.Logf("sidecar: %s", cluster.ContainerState(sidecarStatus(w.pod(t, v))))
}

// While the webhook is gone, or its image cannot be had, VMs start without a sidecar, at once.
func TestWebhookGone(t *testing.T) {
	w := connect(t)
	w.scaleWebhook(t, 0)
	v := vm{namespace: labelled, name: "no-webhook"}
	took := w.start(t, v)
	t.Logf("VM started in %.1f s without a webhook", took.Seconds())
	require.False(t, hasSidecar(w.pod(t, v)))
}

// A sidecar image that is missing on the node does not hold VMs: the webhook that would inject it never gets to serve.
func TestImageMissing(t *testing.T) {
	w := connect(t)
	deployments := w.AppsV1().Deployments(cluster.Product)
	before, err := deployments.Get(t.Context(), webhook, metav1.GetOptions{})
	require.NoError(t, err)
	old := before.Spec.Template.Spec.InitContainers[0].Image
	set := func(image string) {
		patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"initContainers":[{"name":"sidecar-image","image":%q}],"containers":[{"name":"webhook","env":[{"name":"SIDECAR_IMAGE","value":%q}]}]}}}}`, image, image)
		_, err := deployments.Patch(context.Background(), webhook, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	t.Cleanup(func() {
		set(old)
		require.NoError(t, w.WaitDeployments(context.Background(), cluster.Product, webhook))
	})
	set("e2e.local/missing:1")
	eventually(t, patience, "a replica that cannot start", func(ctx context.Context) error {
		pods, err := w.CoreV1().Pods(cluster.Product).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			for _, s := range pod.Status.InitContainerStatuses {
				if s.Image == "e2e.local/missing:1" && s.State.Waiting != nil && s.State.Waiting.Reason != "PodInitializing" {
					return nil
				}
			}
		}
		return errors.New("none")
	})
	v := vm{namespace: labelled, name: "image-missing"}
	w.start(t, v)
	for _, c := range w.pod(t, v).Spec.InitContainers {
		require.NotEqual(t, "e2e.local/missing:1", c.Image)
	}
}

// While etcd answers slowly, VMs run on; one that is asked for starts once etcd answers again.
func TestEtcdSlow(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "etcd"}
	w.start(t, v)
	for range 4 {
		require.NoError(t, w.node.Signal(t.Context(), "etcd", syscall.SIGSTOP))
		time.Sleep(2 * time.Second) // etcd's pause
		require.NoError(t, w.node.Signal(t.Context(), "etcd", syscall.SIGCONT))
		time.Sleep(500 * time.Millisecond)
	}
	eventually(t, patience, "the API server to answer, and the VM to run", func(ctx context.Context) error { return w.isIn(ctx, v, "Running") })
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount)
	w.start(t, vm{namespace: labelled, name: "etcd-new"})
}

func (w *world) scaleWebhook(t *testing.T, replicas int) {
	scale := func(n int) {
		patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, n)
		_, err := w.AppsV1().Deployments(cluster.Product).Patch(context.Background(), webhook, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		require.NoError(t, err)
		require.NoError(t, w.WaitDeployments(context.Background(), cluster.Product, webhook))
	}
	t.Cleanup(func() { scale(2) })
	scale(replicas)
	eventually(t, patience, "the webhook's pods to go", func(ctx context.Context) error {
		pods, err := w.CoreV1().Pods(cluster.Product).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err == nil && len(pods.Items) > replicas {
			err = fmt.Errorf("%d there", len(pods.Items))
		}
		return err
	})
}

// stopSidecar stops every process of the sidecar.
func (w *world) stopSidecar(t *testing.T, v vm) {
	t.Helper()
	pids, err := w.processes(t.Context(), w.pod(t, v), sidecar)
	require.NoError(t, err)
	_, err = w.node.Run(t.Context(), append([]string{"kill", "-STOP"}, pids...)...)
	require.NoError(t, err)
}

// computeID is the VM's own container, another one after a restart.
func (w *world) computeID(t *testing.T, v vm) string {
	t.Helper()
	for _, status := range w.pod(t, v).Status.ContainerStatuses {
		if status.Name == "compute" {
			return fmt.Sprint(status.ContainerID, status.RestartCount)
		}
	}
	return ""
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

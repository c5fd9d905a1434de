package checks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/poll"
)

const webhook = "hypervisor-exporter-webhook"

// An exporter that is frozen leaves the VM alone, and does not hold its end: the supervisor gives it two seconds.
func TestSidecarStopped(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "stopped"}
	w.start(t, v)
	compute := w.computeID(t, v)
	w.stopExporter(t, v)
	// Beside two others: with a sidecar that is well, and without one. Their guests have no system to obey the power
	// button, so KubeVirt ends each after the VM's grace period.
	other, without := vm{namespace: labelled, name: "stopped-other"}, vm{namespace: plain, name: "stopped-without"}
	w.start(t, other)
	w.start(t, without)
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	require.Equal(t, compute, w.computeID(t, v))
	require.True(t, isReady(w.pod(t, v)), "a sidecar that hangs changes nothing for the pod")
	alert := podLabels(v, w.pod(t, v))
	w.awaitAlert(t, "HypervisorExporterTargetDown", alert)
	all := []vm{without, other, v}
	var took [3]time.Duration
	var removals sync.WaitGroup
	for i, gone := range all {
		h := w.watch(t, gone)
		require.NoError(t, w.Client.Delete(t.Context(), gone.object(t)))
		deleted := time.Now()
		removals.Go(func() {
			took[i] = w.awaitPodGone(t, gone, h).Sub(deleted)
		})
	}
	removals.Wait()
	t.Logf("pod gone after the VM was deleted: %.1f s without a sidecar, %.1f s with one that is well, %.1f s with one that is frozen",
		took[0].Seconds(), took[1].Seconds(), took[2].Seconds())
	require.Less(t, took[2], took[0]+5*time.Second, "the supervisor's 2 s, and what else the machine does")
	w.awaitResolved(t, "HypervisorExporterTargetDown", alert)
}

// awaitPodGone waits until the VM's pod is gone and says when that was; zero if it never was.
func (w *world) awaitPodGone(t *testing.T, v vm, h *history) time.Time {
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	err := poll.Until(ctx, patience, "the pod of "+v.name+" to be gone", func(context.Context) error {
		if _, ok := h.at("pod gone"); !ok {
			return fmt.Errorf("so far: %v", h.states())
		}
		return nil
	})
	assert.NoError(t, err)
	when, _ := h.at("pod gone")
	return when
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
	beside := vm{namespace: labelled, name: "before-webhook-went"}
	w.create(t, beside)
	require.True(t, hasSidecar(w.pod(t, beside)))
	w.awaitNoFormerWebhook(t)
	w.scaleWebhook(t, 0)
	v := vm{namespace: labelled, name: "no-webhook"}
	took := w.start(t, v)
	t.Logf("VM started in %.1f s without a webhook", took.Seconds())
	require.False(t, hasSidecar(w.pod(t, v)))
	w.requireMissed(t, v)
	w.checkGoneAlerts(t, v)
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
	w.awaitWebhooks(t, replicas)
}

// awaitWebhooks waits until no more than so many pods of the webhook are there.
func (w *world) awaitWebhooks(t *testing.T, most int) {
	t.Helper()
	eventually(t, patience, "the webhook's pods to go", func(ctx context.Context) error {
		pods, err := w.CoreV1().Pods(cluster.Product).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err == nil && len(pods.Items) > most {
			err = fmt.Errorf("%d there", len(pods.Items))
		}
		return err
	})
}

// stopExporter stops the sidecar's process that serves, and not its supervisor.
func (w *world) stopExporter(t *testing.T, v vm) {
	t.Helper()
	pids, err := w.processes(t.Context(), w.pod(t, v), sidecar)
	require.NoError(t, err)
	require.Len(t, pids, 2, "supervisor and exporter")
	_, err = w.node.Run(t.Context(), "kill", "-STOP", pids[1])
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

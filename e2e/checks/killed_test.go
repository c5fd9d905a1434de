package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// An exporter that is killed ten times in a row costs the VM nothing: the supervisor starts it anew, at once the first
// time; the container does not restart, and the pod stays ready and in its Service all along.
func TestExporterKilled(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "exporter-killed"}
	w.start(t, v)
	service := w.serviceFor(t, v)
	w.awaitTarget(t, v, "up")
	w.awaitReady(t, v)
	states, compute := w.watch(t, v), w.computeID(t, v)
	w.watchService(t, v, service, states)
	alert := podLabels(v, w.pod(t, v))
	for i := range 10 {
		took := w.killExporter(t, w.pod(t, v))
		t.Logf("kill %d: another exporter after %d ms", i+1, took.Milliseconds())
		if i == 4 { // later the pauses are so long that the alert's short copy no longer sees where it began
			w.awaitAlert(t, "HypervisorExporterRestarting", alert)
		}
	}
	eventually(t, time.Minute, "Prometheus to know of the restarts", func(ctx context.Context) error {
		restarts, err := w.sidecarMetric(ctx, v, "hypervisor_exporter_restarts_total")
		if err == nil && restarts != 10 {
			err = fmt.Errorf("%v restarts", restarts)
		}
		return err
	})
	w.awaitTarget(t, v, "up")
	w.requireUntouched(t, v, states, compute)
	require.Contains(t, states.states(), "endpoint ready=true")
	require.NotContains(t, states.states(), "endpoint ready=false")
	t.Logf("seen all along: %v", states.states())
	w.removeNow(t, v)
	w.awaitResolved(t, "HypervisorExporterRestarting", alert)
}

// A container that is killed, by its first process, is restarted by the kubelet, which leaves the VM alone. For how long
// the pod is unready, and the VM out of its Service, is measured.
func TestContainerKilled(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "container-killed"}
	w.start(t, v)
	service := w.serviceFor(t, v)
	compute := w.computeID(t, v)
	for i := range 2 { // the kubelet holds the next ones back for 20 s, 40 s and so on
		killed, err := w.containerPID(t.Context(), w.pod(t, v), sidecar)
		require.NoError(t, err)
		_, err = w.node.Run(t.Context(), "kill", "-9", killed)
		require.NoError(t, err)
		o := w.observe(t, v, service, killed)
		t.Logf("kill %d: %s; sidecar %s", i+1, o, cluster.ContainerState(sidecarStatus(w.pod(t, v))))
		require.NotZero(t, o.back, "the kubelet restarts it")
	}
	require.EqualValues(t, 2, sidecarStatus(w.pod(t, v)).RestartCount)
	require.Equal(t, compute, w.computeID(t, v), "the VM's own container went on")
	w.awaitTarget(t, v, "up")
	w.remove(t, v)
}

// killExporter kills the sidecar's process that serves and says after how long there was another.
func (w *world) killExporter(t *testing.T, pod *corev1.Pod) time.Duration {
	t.Helper()
	pids, err := w.processes(t.Context(), pod, sidecar)
	require.NoError(t, err)
	require.Len(t, pids, 2, "supervisor and exporter")
	output, err := w.node.Run(t.Context(), "timeout", "60", "sh", "-c", fmt.Sprintf(
		`procs=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%[1]s/cgroup)/cgroup.procs
		kill -9 %[2]s; from=$(date +%%s%%N)
		until grep -qvx -e %[1]s -e %[2]s "$procs"; do sleep 0.01; done
		echo $(($(date +%%s%%N) - from))`, pids[0], pids[1]))
	require.NoError(t, err, "another exporter")
	took, err := strconv.ParseInt(strings.TrimSpace(output), 10, 64)
	require.NoError(t, err, output)
	return time.Duration(took)
}

// awaitReady waits until the VM's pod is ready.
func (w *world) awaitReady(t *testing.T, v vm) {
	t.Helper()
	eventually(t, patience, "the pod of "+v.name+" to be ready", func(ctx context.Context) error {
		pod, err := w.findPod(ctx, v)
		if err == nil && !isReady(pod) {
			err = errors.New("not yet")
		}
		return err
	})
}

// outage is what a kill did, each as the time since; 0 for never.
type outage struct{ unready, out, back time.Duration }

func (o outage) String() string {
	return fmt.Sprintf("pod unready after %.1f s, out of the Service after %.1f s (0: never), all well after %.1f s (0: not within %.0f s)",
		o.unready.Seconds(), o.out.Seconds(), o.back.Seconds(), outageLimit.Seconds())
}

// outageLimit: the kubelet doubles its delay from 10 s (CrashLoopBackOff); what takes minutes is not waited for.
const outageLimit = 45 * time.Second

// observe looks, from the moment that the sidecar's container has been killed, until all is well: another process in
// its place, the pod ready and in its Service, and that for longer than the kubelet takes to notice.
func (w *world) observe(t *testing.T, v vm, service, killed string) outage {
	t.Helper()
	var o outage
	const notice = 3 * time.Second
	for began := time.Now(); time.Since(began) < outageLimit; time.Sleep(100 * time.Millisecond) { // between two looks
		pod := w.pod(t, v)
		in := w.endpointReady(t, service)
		if !isReady(pod) && o.unready == 0 {
			o.unready = time.Since(began)
		}
		if !in && o.out == 0 {
			o.out = time.Since(began)
		}
		pids, err := w.processes(t.Context(), pod, sidecar)
		if err != nil || slices.Contains(pids, killed) || !in || !isReady(pod) {
			o.back = 0
		} else if o.back == 0 {
			o.back = time.Since(began)
		}
		require.NoError(t, w.isIn(t.Context(), v, "Running"))
		if o.back > 0 && time.Since(began) > notice {
			return o
		}
	}
	return o
}

package checks

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// An exporter that is frozen leaves the VM alone and is reported. It does not delay the VM's end: the supervisor gives it
// two seconds.
func TestSidecarStopped(t *testing.T) {
	t.Parallel()
	f := connect(t)
	// Beside a VM with a working sidecar and one without. Their guests have no system to obey the power button, so KubeVirt
	// ends each after the VM's grace period.
	frozen := vm{namespace: labelled, name: "stopped"}
	all := []vm{{namespace: plain, name: "stopped-without"}, {namespace: labelled, name: "stopped-other"}, frozen}
	f.start(all...)
	requireUntouched := f.observe(frozen)
	_, exporter := f.exporter(frozen)
	f.kill("STOP", exporter)
	alert := podLabels(frozen, f.pod(frozen))
	f.awaitAlert("HypervisorExporterTargetDown", alert)
	requireUntouched() // a sidecar that hangs changes nothing for the pod
	var watched []*recorder
	for _, v := range all {
		watched = append(watched, f.watch(v))
	}
	deleted := time.Now()
	for _, v := range all {
		f.must(f.Client.Delete(f.ctx, f.object(v)))
	}
	var took []time.Duration
	for _, r := range watched {
		took = append(took, f.await(r, "pod gone").Sub(deleted))
	}
	t.Logf("pod gone after the VM was deleted: without a sidecar, with a working one, with a frozen one: %v", took)
	// A supervisor that waited for it would make it the pod's grace period, of 20 s.
	require.Less(t, took[2], took[0]+12*time.Second, "the supervisor's 2 s, and what else the machine does")
	f.awaitResolved("HypervisorExporterTargetDown", alert)
}

// An exporter that is killed ten times in a row costs the VM nothing: the supervisor starts it again, at once the first
// time; the container does not restart, and the pod stays ready and in its Service all along.
func TestExporterKilled(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "exporter-killed"}
	f.start(v)
	f.createService(v)
	f.awaitTarget(v, "up")
	requireUntouched := f.observe(v)
	endpoint := f.watchService(v)
	alert := podLabels(v, f.pod(v))
	for i := range 10 {
		t.Logf("kill %d: another exporter after %d ms", i+1, f.killExporter(v))
	}
	f.awaitOwnAlert("HypervisorExporterRestarting", alert)
	f.awaitSeries("%s == 10", v.series("hypervisor_exporter_restarts_total"))
	f.awaitTarget(v, "up")
	requireUntouched()
	require.Equal(t, []string{"endpoint ready=true"}, endpoint.states())
	f.removeNow(v)
	f.awaitResolved("HypervisorExporterRestarting", alert)
}

// killExporter kills the sidecar's process that serves and returns after how many milliseconds there was another.
func (f *framework) killExporter(v vm) int64 {
	supervisor, exporter := f.exporter(v)
	output := f.run("timeout", "60", "sh", "-c", fmt.Sprintf(
		`procs=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%[1]s/cgroup)/cgroup.procs
		kill -9 %[2]s; from=$(date +%%s%%3N)
		until grep -qvx -e %[1]s -e %[2]s "$procs"; do sleep 0.01; done
		echo $(($(date +%%s%%3N) - from))`, supervisor, exporter))
	took, err := strconv.ParseInt(strings.TrimSpace(output), 10, 64)
	f.must(err, output)
	return took
}

// A sidecar whose first process is killed, or that has no memory left, is restarted by the kubelet, which leaves the VM
// alone. How long the pod is unready, and the VM out of its Service, is measured.
func TestContainerKilled(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "container-killed"}
	f.start(v)
	f.createService(v)
	compute := f.computeID(v)
	for i, end := range []struct {
		reason string
		act    func(pid string)
	}{ // the kubelet holds the second one back for 10 s, and later ones for longer
		{"Error", func(pid string) { f.kill("KILL", pid) }},
		{"OOMKilled", func(pid string) {
			// A process put into its cgroup eats the memory that is left; oom_score_adj has the kernel end the sidecar first.
			_, err := f.node.Run(f.ctx, "sh", "-c", fmt.Sprintf(`echo 1000 > /proc/%[1]s/oom_score_adj
				c=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/%[1]s/cgroup); echo $$ > $c/cgroup.procs; exec tail /dev/zero`, pid))
			require.Error(t, err, "the eater is ended too")
		}},
	} {
		end.act(f.containerPID(f.pod(v), sidecar))
		began := time.Now()
		var unready, out time.Duration
		f.until("the sidecar to run again, the pod to be ready and in its Service", func() bool {
			pod, in := f.pod(v), f.inService(v)
			if !isReady(pod) && unready == 0 {
				unready = time.Since(began)
			}
			if !in && out == 0 {
				out = time.Since(began)
			}
			f.must(f.isIn(v, "Running"))
			return in && isReady(pod) && status(pod, sidecar).RestartCount > int32(i) && f.findPID(pod, sidecar) != ""
		}, func() any { return cluster.ContainerState(f.sidecarState(v)) })
		state := f.sidecarState(v)
		t.Logf("%s: pod unready after %.1f s, out of the Service after %.1f s (0: not seen), all well after %.1f s; sidecar %s",
			end.reason, unready.Seconds(), out.Seconds(), time.Since(began).Seconds(), cluster.ContainerState(state))
		require.NotNil(t, state.LastTerminationState.Terminated)
		require.Equal(t, end.reason, state.LastTerminationState.Terminated.Reason)
	}
	f.requireAlive(v, compute)
	f.awaitTarget(v, "up")
}

// A sidecar that cannot write to its volume leaves the VM alone. The volume is the node's disk, which is not ours to fill:
// a file system with no room left is mounted over it, which the sidecar sees from its next start.
func TestVolumeFull(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "full"}
	f.start(v)
	pod, compute := f.pod(v), f.computeID(v)
	require.True(t, slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == sidecar }), "the sidecar's volume")
	path := "/var/lib/kubelet/pods/" + string(pod.UID) + "/volumes/kubernetes.io~empty-dir/" + sidecar
	f.run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2,mode=777", "full", path)
	t.Cleanup(func() { _, _ = f.node.Run(f.ctx, "umount", "-l", path) }) // gone with the pod, if that went first
	f.run("dd", "if=/dev/zero", "of="+path+"/ballast", "bs=4k", "count=1")
	supervisor, _ := f.exporter(v)
	f.kill("KILL", supervisor)
	f.until("the sidecar to run on the full volume, and the pod to be ready", func() bool {
		pod := f.pod(v)
		return status(pod, sidecar).RestartCount > 0 && isReady(pod)
	}, nil)
	f.awaitTarget(v, "down") // there is no room for its socket
	f.requireAlive(v, compute)
	f.run("umount", "-l", path) // the sidecar's file system keeps it busy
	f.remove(v)
}

// createService creates a Service for the VM, as users do, and waits until the VM is in it.
func (f *framework) createService(v vm) {
	f.impose(`{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {selector: {check: %[1]s}, ports: [{port: 80}]}}`, v.name, v.namespace)
	f.until("the VM in its Service", func() bool { return f.inService(v) }, nil)
}

func serviceSlices(v vm) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + v.name}
}

func (f *framework) inService(v vm) bool {
	found, err := f.DiscoveryV1().EndpointSlices(v.namespace).List(f.ctx, serviceSlices(v))
	f.must(err)
	return slices.ContainsFunc(found.Items, func(slice discoveryv1.EndpointSlice) bool { return isServed(&slice) })
}

// watchService records "endpoint ready=true" and "endpoint ready=false" of the VM's Service, until the check ends.
func (f *framework) watchService(v vm) *recorder {
	ctx, stop := context.WithCancel(f.ctx)
	r := &recorder{vm: v, seen: map[string]time.Time{}, stop: stop}
	f.t.Cleanup(func() { stop(); r.running.Wait() })
	r.follow(ctx, serviceSlices(v), f.DiscoveryV1().EndpointSlices(v.namespace).Watch, func(object runtime.Object, gone bool) {
		if slice, ok := object.(*discoveryv1.EndpointSlice); ok {
			r.note(fmt.Sprintf("endpoint ready=%t", !gone && isServed(slice)))
		}
	})
	f.await(r, "endpoint ready=true")
	return r
}

func isServed(slice *discoveryv1.EndpointSlice) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready != nil && *e.Conditions.Ready })
}

package checks

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// A sidecar that is killed again and again leaves the VM alone. What it does to the pod's readiness, and to a Service
// in front of the VM, is measured and logged: once for the process that serves, once for the container's first, whose
// end is that of the container.
func TestSidecarKilled(t *testing.T) {
	t.Parallel()
	for name, victim := range map[string]func(pids []string) string{
		"exporter":  func(pids []string) string { return pids[len(pids)-1] },
		"container": func(pids []string) string { return pids[0] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := connect(t)
			v := vm{namespace: labelled, name: "killed-" + name}
			w.start(t, v)
			service := w.serviceFor(t, v)
			compute := w.computeID(t, v)
			for i := range 10 {
				pids, err := w.processes(t.Context(), w.pod(t, v), sidecar)
				require.NoError(t, err)
				_, err = w.node.Run(t.Context(), "kill", "-9", victim(pids))
				require.NoError(t, err)
				o := w.observe(t, v, service, victim(pids))
				t.Logf("kill %d: %s; sidecar %s", i+1, o, cluster.ContainerState(sidecarStatus(w.pod(t, v))))
				if o.back == 0 {
					t.Logf("the kubelet holds the sidecar back after %d kills: the other kills would hit nothing", i+1)
					break
				}
			}
			require.Equal(t, compute, w.computeID(t, v), "the VM's own container went on")
			require.NoError(t, w.isIn(t.Context(), v, "Running"))
			w.remove(t, v) // a sidecar that is held back does not hold the VM's end
		})
	}
}

// outage is what a kill did, each as the time since; 0 for never.
type outage struct{ unready, out, back time.Duration }

func (o outage) String() string {
	return fmt.Sprintf("pod unready after %.1f s, out of the Service after %.1f s (0: never), all well after %.1f s (0: not within %.0f s)",
		o.unready.Seconds(), o.out.Seconds(), o.back.Seconds(), outageLimit.Seconds())
}

// outageLimit: the kubelet doubles its delay from 10 s (CrashLoopBackOff); what takes minutes is not waited for.
const outageLimit = 45 * time.Second

// observe looks, from the moment that a process of the sidecar has been killed, until all is well: another process in
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

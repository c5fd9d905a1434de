package checks

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// When the libvirt daemon inside compute is killed, virt-launcher starts it again or ends the VM. The VM that runs on
// is detected again over a new connection, by a sidecar that was not restarted; for one that ends there is no series.
func TestLibvirtKilled(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: labelled, name: "libvirt"}
	w.start(t, v)
	w.awaitInfo(t, v)
	connects, err := w.sidecarMetric(t.Context(), v, "hypervisor_exporter_libvirt_connects_total")
	require.NoError(t, err)
	pod := w.pod(t, v)
	before, err := w.libvirtPID(t.Context(), v)
	require.NoError(t, err)
	_, err = w.exec(t.Context(), pod, "compute", "kill", "-9", before)
	require.NoError(t, err)
	killed := time.Now()
	after := before
	eventually(t, time.Minute, "a new libvirt, or the end of the VM", func(ctx context.Context) error {
		if w.isIn(ctx, v, "Running") != nil {
			return nil
		}
		after, err = w.libvirtPID(ctx, v)
		if err == nil && after == before {
			err = fmt.Errorf("pid %s still", after)
		}
		return err
	})
	t.Logf("libvirt had pid %s, %.1f s after it was killed %s", before, time.Since(killed).Seconds(), after)
	eventually(t, time.Minute, "the sidecar's second connection", func(ctx context.Context) error {
		if w.isIn(ctx, v, "Running") != nil {
			return nil // told from below
		}
		now, err := w.sidecarMetric(ctx, v, "hypervisor_exporter_libvirt_connects_total")
		if err == nil && now <= connects {
			err = fmt.Errorf("%v connections, %v before", now, connects)
		}
		return err
	})
	t.Logf("Prometheus knew of the new connection %.1f s after the kill", time.Since(killed).Seconds())
	if w.isIn(t.Context(), v, "Running") != nil {
		w.awaitNoSeries(t, v)
		return
	}
	require.Equal(t, "kvm", w.awaitInfo(t, v).Metric["hypervisor_type"])
	up, err := w.sidecarMetric(t.Context(), v, "hypervisor_exporter_libvirt_up")
	require.NoError(t, err)
	require.EqualValues(t, 1, up)
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount, "the sidecar outlives it")
}

// libvirtPID is that of the libvirt daemon in the VM's own container, in the container's pid namespace.
func (w *world) libvirtPID(ctx context.Context, v vm) (string, error) {
	pod, err := w.findPod(ctx, v)
	if err != nil {
		return "", err
	}
	output, err := w.exec(ctx, pod, "compute", "pgrep", "-o", "-x", "libvirtd|virtqemud") // the oldest: it forks
	return strings.TrimSpace(output), err
}

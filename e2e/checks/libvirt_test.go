package checks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// When the libvirt daemon inside compute is killed, Prometheus has no series that pretends to know; once it is back,
// the VM is detected again. KubeVirt restarts it (virt-launcher's monitor) or ends the VM: both are told from the log.
func TestLibvirtKilled(t *testing.T) {
	w := connect(t)
	v := vm{namespace: labelled, name: "libvirt"}
	w.start(t, v)
	eventually(t, time.Minute, "the series", func(ctx context.Context) error { _, err := w.info(ctx, v); return err })
	_, err := w.exec(t.Context(), w.pod(t, v), "compute", "pkill", "-9", "-x", "libvirtd") // in the pod's own pid namespace
	require.NoError(t, err)
	killed := time.Now()
	last := ""
	for time.Since(killed) < 40*time.Second {
		phase, err := w.phase(t.Context(), v)
		require.NoError(t, err)
		found, err := w.query(t.Context(), fmt.Sprintf(`{__name__=~"kubevirt_vmi_hypervisor_info|hypervisor_exporter_.*up.*|hypervisor_exporter_.*connected.*",name=%q}`, v.name))
		require.NoError(t, err)
		now := "VM " + phase
		for _, s := range found {
			now += fmt.Sprintf(", %s{%s}=%v", s.Metric["__name__"], s.Metric["hypervisor_type"], s.Value[1])
		}
		if now != last {
			t.Logf("%4.1f s after the kill: %s", time.Since(killed).Seconds(), now)
			last = now
		}
		time.Sleep(500 * time.Millisecond) // between two looks
	}
	if w.isIn(t.Context(), v, "Running") == nil {
		_, err := w.info(t.Context(), v)
		require.NoError(t, err, "the VM runs: it is detected again")
	} else {
		_, err := w.info(t.Context(), v)
		require.Error(t, err, "the VM does not run: no series")
	}
	require.Zero(t, sidecarStatus(w.pod(t, v)).RestartCount, "the sidecar outlives it")
}

package checks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the real operator makes of our PodMonitor: each VM's sidecar is one target, with its URL, labels and health.
func TestPodMonitor(t *testing.T) {
	t.Parallel()
	w := connect(t)
	// masquerade with a list of ports leaves the others to the pod; without a list the guest gets every packet
	// (KubeVirt's nft rules), so that the sidecar cannot be scraped: the next issue mends that.
	for _, c := range []struct {
		v      vm
		health string
	}{
		{vm{namespace: labelled, name: "ports-listed"}, "up"},
		{vm{namespace: labelled, name: "ports-all", allPorts: true}, "down"},
	} {
		w.start(t, c.v)
		pod := w.pod(t, c.v)
		eventually(t, time.Minute, "the target of "+c.v.name, func(ctx context.Context) error {
			targets, err := w.targets(ctx)
			if err != nil {
				return err
			}
			for _, found := range targets {
				if found.Labels["pod"] != pod.Name {
					continue
				}
				if found.Health != c.health {
					return fmt.Errorf("health %s: %s", found.Health, found.LastError)
				}
				t.Logf("%s %s is %s %s", c.v.name, found.ScrapeURL, found.Health, found.LastError)
				require.Equal(t, "http://"+w.pod(t, c.v).Status.PodIP+":9477/metrics", found.ScrapeURL)
				require.Equal(t, map[string]string{
					"namespace": c.v.namespace, "name": c.v.name, "node": pod.Spec.NodeName, "pod": pod.Name,
					"container": sidecar, "endpoint": "hv-metrics", "job": "hypervisor-exporter/hypervisor-exporter-vms",
					"instance": w.pod(t, c.v).Status.PodIP + ":9477",
				}, found.Labels)
				return nil
			}
			return fmt.Errorf("not among %d targets", len(targets))
		})
	}
	found, err := w.query(t.Context(), `up{job="hypervisor-exporter/hypervisor-exporter-webhook"}`)
	require.NoError(t, err)
	require.NotEmpty(t, found, "the webhook's own targets")
	for _, s := range found {
		require.Equal(t, "1", s.Value[1], "%v", s.Metric)
	}
}

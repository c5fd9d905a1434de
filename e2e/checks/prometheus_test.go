package checks

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

type series = cluster.Series

type target = cluster.Target

// targets are the active targets of the VMs' PodMonitor.
func (w *world) targets(ctx context.Context) ([]target, error) {
	return w.Targets(ctx, "hypervisor-exporter/hypervisor-exporter-vms")
}

// target is the VM's one target; an error where there is another number.
func (w *world) target(ctx context.Context, v vm) (target, error) {
	targets, err := w.targets(ctx)
	if err != nil {
		return target{}, err
	}
	var found []target
	for _, t := range targets {
		if t.Labels["namespace"] == v.namespace && t.Labels["name"] == v.name {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return target{}, fmt.Errorf("%d of %d targets are %s's", len(found), len(targets), v.name)
	}
	return found[0], nil
}

// awaitTarget waits until the VM's one target is up, or down.
func (w *world) awaitTarget(t *testing.T, v vm, health string) target {
	t.Helper()
	var found target
	eventually(t, time.Minute, "the target of "+v.name, func(ctx context.Context) (err error) {
		found, err = w.target(ctx, v)
		if err == nil && found.Health != health {
			err = fmt.Errorf("health %s: %s", found.Health, found.LastError)
		}
		return err
	})
	return found
}

// scrapes are the outcomes of the VM's scrapes that began within the last while, the oldest first: true for up.
func (w *world) scrapes(t *testing.T, v vm, last time.Duration) []bool {
	t.Helper()
	found, err := w.Query(t.Context(), fmt.Sprintf(`up{job="hypervisor-exporter/hypervisor-exporter-vms",namespace=%q,name=%q}[%dms]`, v.namespace, v.name, max(1, last.Milliseconds())))
	require.NoError(t, err)
	require.LessOrEqual(t, len(found), 1, "series of up")
	var up []bool
	for _, s := range found {
		for _, sample := range s.Values {
			up = append(up, sample[1] == "1")
		}
	}
	return up
}

func missed(scrapes []bool) int {
	return len(slices.DeleteFunc(slices.Clone(scrapes), func(up bool) bool { return up }))
}

// requireThroughout watches the VM for a while, of two scrapes at least, and fails unless its series was there all along:
// in each page of the relay, asked once a second with no hurry, and in each scrape of Prometheus that came through. One
// may not, on a machine with other work, and that says nothing about the page.
func (w *world) requireThroughout(t *testing.T, v vm, hypervisor string, last time.Duration) {
	t.Helper()
	client, url, token := w.relayClient(t), page(w.pod(t, v)), w.prometheusToken(t)
	for began := time.Now(); time.Since(began) < last; time.Sleep(time.Second) { // between two looks
		code, body := ask(t, client, url, token)
		require.Equal(t, http.StatusOK, code, "%.1f s: %s", time.Since(began).Seconds(), body)
		require.Contains(t, body, fmt.Sprintf("kubevirt_vmi_hypervisor_info{hypervisor_type=%q,", hypervisor), "%.1f s", time.Since(began).Seconds())
	}
	up := w.scrapes(t, v, last)
	t.Logf("scrapes meanwhile: up %v", up)
	require.GreaterOrEqual(t, len(up), 2)
	require.LessOrEqual(t, missed(up), 1, "scrapes missed")
	vm := fmt.Sprintf("namespace=%q,name=%q", v.namespace, v.name)
	missing, err := w.Query(t.Context(), fmt.Sprintf(`sum_over_time(up{job="hypervisor-exporter/hypervisor-exporter-vms",%[1]s}[%[3]ds]) - on(namespace,name) count_over_time(kubevirt_vmi_hypervisor_info{%[1]s,hypervisor_type=%[2]q}[%[3]ds])`,
		vm, hypervisor, int(last.Seconds())))
	require.NoError(t, err)
	require.Len(t, missing, 1, "Prometheus has scrapes and series")
	require.Equal(t, "0", missing[0].Value[1], "scrapes that came through without the series")
}

// infos are the series of the VM.
func (w *world) infos(ctx context.Context, v vm) ([]series, error) {
	return w.Query(ctx, fmt.Sprintf(`kubevirt_vmi_hypervisor_info{namespace=%q,name=%q}`, v.namespace, v.name))
}

// info is the one series of the VM, an error unless there is exactly one.
func (w *world) info(ctx context.Context, v vm) (series, error) {
	found, err := w.infos(ctx, v)
	if err != nil {
		return series{}, err
	}
	if len(found) != 1 {
		return series{}, fmt.Errorf("%d series", len(found))
	}
	return found[0], nil
}

// awaitInfo waits until Prometheus has exactly one series of the VM.
func (w *world) awaitInfo(t *testing.T, v vm) (found series) {
	t.Helper()
	eventually(t, time.Minute, "the series of "+v.name, func(ctx context.Context) (err error) {
		found, err = w.info(ctx, v)
		return err
	})
	return found
}

// sidecarMetric is the newest value of one of the sidecar's own metrics.
func (w *world) sidecarMetric(ctx context.Context, v vm, name string) (float64, error) {
	found, err := w.Query(ctx, fmt.Sprintf(`%s{namespace=%q,name=%q}`, name, v.namespace, v.name))
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d series of %s", len(found), name)
	}
	return strconv.ParseFloat(found[0].Value[1].(string), 64)
}

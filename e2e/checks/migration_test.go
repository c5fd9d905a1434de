package checks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

var migrationKind = kind("kubevirt.io", "v1", "VirtualMachineInstanceMigration")

// A live migration between two nodes goes on with a sidecar on either side as without one: a VM that had none has it
// after its first migration, as the README says; after the second the series has followed it, and at no time did
// two pods' series count for the one VM. A sidecar that is frozen on the source holds nothing up.
func TestMigration(t *testing.T) {
	w := connect(t)
	require.NoError(t, w.Namespace(t.Context(), migrated, nil))
	v := vm{namespace: migrated, name: "migration", migratable: true}
	w.start(t, v)
	require.False(t, hasSidecar(w.pod(t, v)), "it started before its namespace asked for the sidecar")
	second := w.secondNode(t)

	require.NoError(t, w.Namespace(t.Context(), migrated, map[string]string{inject: "enabled"}))
	began := time.Now()
	w.migrate(t, v, "there")
	w.requireOn(t, v, second.Name)

	// Back, from a sidecar to another.
	w.migrate(t, v, "back")
	w.requireOn(t, v, w.node.Name)
	w.requireNeverTwice(t, v, time.Since(began))

	pids, err := w.processes(t.Context(), w.onlyLauncher(t, v), sidecar)
	require.NoError(t, err)
	_, err = w.node.Run(t.Context(), "kill", "-STOP", pids[len(pids)-1])
	require.NoError(t, err)
	w.migrate(t, v, "frozen")
	w.requireOn(t, v, second.Name)
	w.remove(t, v) // before its node goes
}

// migrate moves the VM to the other node and waits until KubeVirt says that it is there and the source's pod has ended.
func (w *world) migrate(t *testing.T, v vm, name string) {
	t.Helper()
	objects, err := cluster.Objects(fmt.Appendf(nil, `
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstanceMigration
metadata: {name: %s, namespace: %s}
spec: {vmiName: %s}
`, name, v.namespace, v.name))
	require.NoError(t, err)
	began := time.Now()
	require.NoError(t, w.Apply(t.Context(), objects...))
	eventually(t, patience, "migration "+name, func(ctx context.Context) error {
		migration, err := w.Get(ctx, migrationKind, v.namespace, name)
		if err != nil {
			return err
		}
		phase, _, _ := unstructured.NestedString(migration.Object, "status", "phase")
		require.NotEqual(t, "Failed", phase, "%v", migration.Object["status"])
		if phase != "Succeeded" {
			return fmt.Errorf("phase %q", phase)
		}
		return nil
	})
	succeeded := time.Since(began)
	eventually(t, patience, "the source's pod to end", func(ctx context.Context) error {
		pods, err := w.launchers(ctx, v)
		if err == nil && len(pods) != 1 {
			err = fmt.Errorf("%d pods", len(pods))
		}
		return err
	})
	t.Logf("migration %q: succeeded after %.1f s, the source's pod had ended after %.1f s", name, succeeded.Seconds(), time.Since(began).Seconds())
}

func (w *world) onlyLauncher(t *testing.T, v vm) *corev1.Pod {
	t.Helper()
	pods, err := w.launchers(t.Context(), v)
	require.NoError(t, err)
	require.Len(t, pods, 1)
	return &pods[0]
}

// requireOn fails unless the VM runs on the node with a sidecar, and within two scrapes its one series says so.
func (w *world) requireOn(t *testing.T, v vm, node string) {
	t.Helper()
	moved := time.Now()
	require.NoError(t, w.isIn(t.Context(), v, "Running"))
	pod := w.onlyLauncher(t, v)
	require.Equal(t, node, pod.Spec.NodeName)
	require.True(t, hasSidecar(pod))
	eventually(t, time.Minute, "the series to say "+node, func(ctx context.Context) error {
		found, err := w.info(ctx, v)
		if err == nil && (found.Metric["node"] != node || found.Metric["pod"] != pod.Name) {
			err = fmt.Errorf("it says %v", found.Metric)
		}
		return err
	})
	t.Logf("series from %s %.1f s after the migration", node, time.Since(moved).Seconds())
	require.Less(t, time.Since(moved), 2*scrapeInterval+time.Second, "two scrapes, and a look at Prometheus")
	target := w.awaitTarget(t, v, "up")
	require.Equal(t, page(pod), target.ScrapeURL, "by the relay of its node")
}

// requireNeverTwice fails where, within the last while, more than one series counted for the VM.
func (w *world) requireNeverTwice(t *testing.T, v vm, last time.Duration) {
	t.Helper()
	found, err := w.Query(t.Context(), fmt.Sprintf(`max_over_time(count(vmi:kubevirt_vmi_hypervisor_info:newest{namespace=%q,name=%q})[%ds:1s])`,
		v.namespace, v.name, int(last.Seconds())))
	require.NoError(t, err)
	require.Len(t, found, 1, "the recording rule has the VM")
	require.Equal(t, "1", found[0].Value[1], "the most series at a time")
}

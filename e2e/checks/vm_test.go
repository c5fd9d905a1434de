package checks

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/poll"
)

// How a VM is connected.
const (
	masqueradePort = ""               // port 80 goes to the guest, others to the pod
	masqueradeAll  = "masquerade-all" // everything goes to the guest, as with most VMs
	bridge         = "bridge"         // the pod's address is the guest's
	none           = "none"           // no pod network
)

// vm is a VirtualMachineInstance of a check; the zero value but for namespace and name is a diskless one.
type vm struct {
	namespace, name string
	disk            string // acpi, off or crash: a guest that acts
	annotations     map[string]string
	labels          map[string]string // beside check, which is its name
	network         string            // masqueradePort (""), masqueradeAll, bridge or none
	dedicated       bool              // dedicated CPUs
	migratable      bool              // with what a migration wants here
	nowhere         bool              // fits no node
	node            string            // the only node that it fits; any ("")
	noConsoleLog    bool              // without KubeVirt's own native sidecar
	account         bool              // the guest is given the token of a ServiceAccount, and so is compute
}

func (v vm) object(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	var extra, devices, volumes strings.Builder
	interfaces := map[string]string{
		masqueradePort: "interfaces: [{name: default, masquerade: {}, ports: [{port: 80}]}]",
		masqueradeAll:  "interfaces: [{name: default, masquerade: {}}]",
		bridge:         "interfaces: [{name: default, bridge: {}}]",
		none:           "autoattachPodInterface: false",
	}[v.network]
	networks := "networks: [{name: default, pod: {}}]"
	if v.network == none {
		networks = ""
	}
	if v.disk != "" {
		devices.WriteString("disks: [{name: cd, bootOrder: 1, cdrom: {bus: sata, readonly: true}}]")
		fmt.Fprintf(&volumes, "volumes: [{name: cd, persistentVolumeClaim: {claimName: %q}}]", v.disk)
	}
	if v.account {
		devices.WriteString("disks: [{name: account, disk: {}}]")
		volumes.WriteString("volumes: [{name: account, serviceAccount: {serviceAccountName: default}}]")
	}
	if v.disk == "crash" { // without one, nobody is told of a guest's panic
		devices.WriteString("\n      panicDevices: [{model: isa}]")
	}
	// A guest without a system does not obey the power button: KubeVirt waits for nothing.
	cpu, memory, grace := "", "128Mi", 5
	if v.disk != "" {
		memory, grace = "192Mi", 20
	}
	if v.dedicated {
		cpu = "cores: 1, dedicatedCpuPlacement: true, "
		fmt.Fprintf(&extra, "resources: {requests: {cpu: 1, memory: %[1]s}, limits: {cpu: 1, memory: %[1]s}}", memory)
	}
	if v.migratable {
		// KubeVirt finds no node for the CPU that it makes of the node's own. Without a limit it migrates over several
		// channels, which Debian's QEMU mixes up now and then ("received packet magic 5145564d expected 11223344").
		cpu += "model: host-passthrough, "
		extra.WriteString("resources: {requests: {cpu: 100m}, limits: {cpu: 1}}")
	}
	selector := ""
	if v.nowhere {
		selector = "nodeSelector: {nowhere: here}"
	}
	if v.node != "" {
		selector = fmt.Sprintf("nodeSelector: {kubernetes.io/hostname: %s}", v.node)
	}
	if v.noConsoleLog {
		devices.WriteString("logSerialConsole: false")
	}
	objects, err := cluster.Objects(fmt.Appendf(nil, `
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata:
  name: %s
  namespace: %s
  labels: {check: %s}
spec:
  terminationGracePeriodSeconds: %d
  %s
  domain:
    cpu: {%sfeatures: [{name: arch-capabilities, policy: disable}]}
    memory: {guest: %s}
    %s
    devices:
      %s
      %s
  %s
  %s
`, v.name, v.namespace, v.name, grace, selector, cpu, memory, extra.String(), interfaces, devices.String(), networks, volumes.String()))
	require.NoError(t, err)
	if v.annotations != nil {
		objects[0].SetAnnotations(v.annotations)
	}
	labels := objects[0].GetLabels()
	maps.Copy(labels, v.labels)
	objects[0].SetLabels(labels)
	return objects[0]
}

// start starts the VM, waits until it runs and says how long that took. It goes with the test.
func (w *world) start(t *testing.T, v vm) time.Duration {
	t.Helper()
	started := time.Now()
	w.create(t, v)
	w.awaitRunning(t, v)
	return time.Since(started)
}

// awaitRunning waits until the VM runs; one that has failed is not waited for.
func (w *world) awaitRunning(t *testing.T, v vm) {
	t.Helper()
	eventually(t, patience, "VM "+v.name+" to run", func(ctx context.Context) error {
		phase, err := w.phase(ctx, v)
		require.NotEqual(t, "Failed", phase, "VM %s", v.name)
		if err == nil && phase != "Running" {
			err = fmt.Errorf("phase %s", phase)
		}
		return err
	})
}

func (w *world) create(t *testing.T, v vm) {
	t.Helper()
	w.vms = append(w.vms, v)
	require.NoError(t, w.Apply(t.Context(), v.object(t)))
	t.Cleanup(func() {
		if t.Failed() {
			w.explain(t) // while it is still there
		}
		w.removeNow(t, v)
	})
}

func (w *world) isIn(ctx context.Context, v vm, phase string) error {
	now, err := w.phase(ctx, v)
	if err == nil && now != phase {
		err = fmt.Errorf("phase %s", now)
	}
	return err
}

// remove deletes the VM and waits until it is gone.
func (w *world) remove(t *testing.T, v vm) {
	t.Helper()
	require.NoError(t, w.Client.Delete(t.Context(), v.object(t)))
	eventually(t, patience, "VM "+v.name+" to be gone", func(ctx context.Context) error { return w.isIn(ctx, v, "gone") })
}

// removeNow takes the VM away at the end of a test, without waiting for its guest.
func (w *world) removeNow(t *testing.T, v vm) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	zero := int64(0)
	resource, err := w.Resource(vmiKind, v.namespace)
	require.NoError(t, err)
	if err := resource.Delete(ctx, v.name, metav1.DeleteOptions{GracePeriodSeconds: &zero}); !cluster.IsNotFound(err) {
		require.NoError(t, err)
	}
	require.NoError(t, w.CoreV1().Pods(v.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &zero},
		metav1.ListOptions{LabelSelector: "check=" + v.name}))
	err = poll.Until(ctx, patience, "VM "+v.name+" to be gone", func(ctx context.Context) error { return w.isIn(ctx, v, "gone") })
	assert.NoError(t, err) // there may be others to take away
}

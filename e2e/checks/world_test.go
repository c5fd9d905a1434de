// Package checks checks the product's promises on a cluster that e2e up has started. Each file is a promise.
package checks

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"

	"kubevirt-hypervisor-exporter/e2e/cache"
	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/poll"
)

const (
	labelled = "vms"   // VMs here get a sidecar
	plain    = "plain" // and here they do not
	migrated = "migration"
	sidecar  = "hypervisor-exporter"
	inject   = "hypervisor-exporter.kubevirt.io/inject"
)

// patience is for what is no promise: the machine may have other work.
const patience = 5 * time.Minute

// world is the cluster under test.
type world struct {
	*cluster.Client
	node      *node.Node
	explained sync.Once
	vms       []vm // that the check has created
}

// connect gives the cluster, with the namespaces and guests' disks that every check uses.
func connect(t *testing.T) *world {
	t.Helper()
	dir, err := cache.User()
	require.NoError(t, err)
	w := &world{node: node.First(dir.Path("node-1"))}
	require.NotZero(t, w.node.PID(), "no cluster runs: make e2e-up starts one")
	w.Client, err = cluster.Connect(w.node.Kubeconfig())
	require.NoError(t, err)
	require.NoError(t, w.Namespace(t.Context(), labelled, map[string]string{inject: "enabled"}))
	require.NoError(t, w.Namespace(t.Context(), plain, nil))
	for _, namespace := range []string{labelled, plain} {
		for _, disk := range []string{"acpi", "off", "crash"} {
			objects, err := cluster.Objects(fmt.Appendf(nil, diskManifest, namespace, disk))
			require.NoError(t, err)
			require.NoError(t, w.Apply(t.Context(), objects...))
		}
	}
	w.installShortRules(t)
	t.Cleanup(func() { w.explain(t) })
	return w
}

const diskManifest = `
apiVersion: v1
kind: PersistentVolume
metadata: {name: "%[1]s-%[2]s"}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteMany], storageClassName: "", hostPath: {path: /var/guest/%[2]s}, claimRef: {namespace: %[1]s, name: "%[2]s"}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: "%[2]s", namespace: %[1]s}
spec: {accessModes: [ReadWriteMany], storageClassName: "", volumeName: %[1]s-%[2]s, resources: {requests: {storage: 1Gi}}}
`

// impose applies objects until the test ends.
func (w *world) impose(t *testing.T, namespace, text string) {
	t.Helper()
	objects, err := cluster.Objects([]byte(text))
	require.NoError(t, err, namespace)
	t.Cleanup(func() { require.NoError(t, w.Client.Delete(context.Background(), objects...)) })
	require.NoError(t, w.Apply(t.Context(), objects...))
}

// explain prints, once a check has failed, what a person needs to find out why.
func (w *world) explain(t *testing.T) {
	if t.Failed() {
		w.explained.Do(func() { w.print(t) })
	}
}

func (w *world) print(t *testing.T) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	for _, namespace := range []string{cluster.Product, cluster.Relay} {
		t.Logf("namespace %s:\n%s", namespace, w.Describe(ctx, namespace))
	}
	targets, err := w.targets(ctx)
	t.Logf("Prometheus has %d targets (%v)", len(targets), err)
	for _, v := range w.vms {
		t.Logf("VM %s/%s:\n%s", v.namespace, v.name, w.Describe(ctx, v.namespace, v.name))
		for _, target := range targets {
			if target.Labels["namespace"] == v.namespace && target.Labels["name"] == v.name {
				t.Logf("  its target is %s: %s %v: %s", target.Health, target.ScrapeURL, target.Labels, target.LastError)
			}
		}
	}
}

// eventually waits for something outside.
func eventually(t *testing.T, limit time.Duration, what string, check func(ctx context.Context) error) {
	t.Helper()
	require.NoError(t, poll.Until(t.Context(), limit, what, check))
}

func kind(group, version, name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: group, Version: version, Kind: name}
}

var vmiKind = kind("kubevirt.io", "v1", "VirtualMachineInstance")

// emulated has VMs that start from now on run with software emulation, until the test ends. KubeVirt knows no such
// choice for one VM: tests that run beside others want the default, KVM.
func (w *world) emulated(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { w.emulate(t, false) })
	w.emulate(t, true)
}

func (w *world) emulate(t *testing.T, on bool) {
	ctx, stop := context.WithTimeout(context.Background(), patience) // a clean-up too
	defer stop()
	require.NoError(t, w.Emulate(ctx, on))
	// KubeVirt takes a moment to know. A VM that fits no node shows what it would make now.
	for i := 0; ; i++ {
		probe := vm{namespace: plain, name: fmt.Sprintf("probe-%d", i), nowhere: true}
		require.NoError(t, w.Apply(ctx, probe.object(t)))
		pod, err := w.findPod(ctx, probe)
		w.removeNow(t, probe)
		require.NoError(t, err)
		if _, kvm := pod.Spec.Containers[0].Resources.Limits["devices.kubevirt.io/kvm"]; kvm != on {
			return
		}
		require.Less(t, i, 30, "KubeVirt goes on with the other kind of VM")
	}
}

// atLeast tells whether the cluster's Kubernetes is of the version or newer.
func (w *world) atLeast(t *testing.T, wanted string) bool {
	t.Helper()
	server, err := w.Discovery().ServerVersion()
	require.NoError(t, err)
	return version.MustParseSemantic(server.GitVersion).AtLeast(version.MustParseGeneric(wanted))
}

// pod returns the VM's virt-launcher pod, once there is one.
func (w *world) pod(t *testing.T, v vm) *corev1.Pod {
	t.Helper()
	pod, err := w.findPod(t.Context(), v)
	require.NoError(t, err)
	return pod
}

func (w *world) findPod(ctx context.Context, v vm) (*corev1.Pod, error) {
	var found corev1.Pod
	err := poll.Until(ctx, time.Minute, "the pod of "+v.name, func(ctx context.Context) error {
		vmi, err := w.Get(ctx, vmiKind, v.namespace, v.name)
		if err != nil {
			return err
		}
		pods, err := w.CoreV1().Pods(v.namespace).List(ctx, metav1.ListOptions{LabelSelector: "kubevirt.io=virt-launcher"})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			if metav1.IsControlledBy(&pod, vmi) { // the name alone may be that of a VM before it
				found = pod
				return nil
			}
		}
		return fmt.Errorf("none of %d pods", len(pods.Items))
	})
	return &found, err
}

// phase is the VM's, or "gone".
func (w *world) phase(ctx context.Context, v vm) (string, error) {
	object, err := w.Get(ctx, vmiKind, v.namespace, v.name)
	if cluster.IsNotFound(err) {
		return "gone", nil
	}
	if err != nil {
		return "", err
	}
	phase, _, err := unstructured.NestedString(object.Object, "status", "phase")
	return phase, err
}

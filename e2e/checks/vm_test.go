package checks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

var vmiKind = schema.GroupVersionKind{Group: "kubevirt.io", Version: "v1", Kind: "VirtualMachineInstance"}

// How a VM is connected: fields of its devices.
const (
	masqueradePort = "interfaces: [{name: default, masquerade: {}, ports: [{port: 80}]}]" // port 80 is the guest's, others the pod's
	masqueradeAll  = "interfaces: [{name: default, masquerade: {}}]"                      // every port is the guest's, as with most VMs
	bridge         = "interfaces: [{name: default, bridge: {}}]"                          // the pod's address is the guest's
	noNetwork      = "autoattachPodInterface: false"
)

// nowhere is the node of a VM that is never scheduled: only its pod is of interest.
const nowhere = "nowhere"

// vm is a VirtualMachineInstance of a check; with namespace and name alone it is one without a disk.
type vm struct {
	namespace, name string
	disk            string // acpi, off or crash: a guest that acts
	claim           string // a disk from this claim, with nothing on it
	annotations     map[string]string
	labels          map[string]string // beside check, which is its name
	network         string            // masqueradePort (""), masqueradeAll, bridge or noNetwork
	dedicated       bool              // dedicated CPUs
	migratable      bool              // with what a migration needs here
	node            string            // the only node that it fits; any that takes VMs ("")
	noConsoleLog    bool              // without KubeVirt's own native sidecar
	account         bool              // the guest is given the token of a ServiceAccount, and so is compute
}

// key is the same for two VMs of a namespace and name.
func (v vm) key() string { return v.namespace + "/" + v.name }

func (f *framework) object(v vm) *unstructured.Unstructured {
	devices, volumes, spec := []string{masqueradePort}, "", []string{"networks: [{name: default, pod: {}}]"}
	if v.network != "" {
		devices[0] = v.network
	}
	if v.network == noNetwork {
		spec = nil
	}
	// A guest without a system does not obey the power button: KubeVirt waits the grace period for nothing.
	cpu, resources, memory, grace := "", "", "128Mi", 5
	if v.disk != "" {
		memory, grace = "192Mi", 20
		devices = append(devices, "disks: [{name: cd, bootOrder: 1, cdrom: {bus: sata, readonly: true}}]")
		volumes = fmt.Sprintf("{name: cd, persistentVolumeClaim: {claimName: %q}}", v.disk)
	}
	if v.disk == "crash" { // without one, a guest's panic goes unnoticed
		devices = append(devices, "panicDevices: [{model: isa}]")
	}
	if v.claim != "" {
		devices = append(devices, "disks: [{name: data, bootOrder: 1, disk: {bus: virtio}}]")
		volumes = fmt.Sprintf("{name: data, persistentVolumeClaim: {claimName: %q}}", v.claim)
	}
	if v.account {
		devices = append(devices, "disks: [{name: account, disk: {}}]")
		volumes = "{name: account, serviceAccount: {serviceAccountName: default}}"
	}
	if v.noConsoleLog {
		devices = append(devices, "logSerialConsole: false")
	}
	if v.dedicated {
		cpu = "cores: 1, dedicatedCpuPlacement: true, "
		resources = fmt.Sprintf("requests: {cpu: 1, memory: %[1]s}, limits: {cpu: 1, memory: %[1]s}", memory)
	}
	if v.migratable {
		// KubeVirt finds no node for the CPU that it makes of the node's own. Without a limit it migrates over several
		// channels, which Debian's QEMU mixes up now and then ("received packet magic 5145564d expected 11223344").
		cpu, resources = "model: host-passthrough, ", "requests: {cpu: 100m}, limits: {cpu: 1}"
	}
	if v.migratable || v.node != "" { // the second node is cordoned: other VMs stay away
		spec = append(spec, "tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]")
	}
	if v.node != "" {
		spec = append(spec, "nodeSelector: {kubernetes.io/hostname: "+v.node+"}")
	}
	objects, err := cluster.Objects(fmt.Appendf(nil, `
apiVersion: kubevirt.io/v1
kind: VirtualMachineInstance
metadata: {name: %s, namespace: %s}
spec:
  terminationGracePeriodSeconds: %d
  volumes: [%s]
  domain:
    cpu: {%sfeatures: [{name: arch-capabilities, policy: disable}]}
    memory: {guest: %s}
    resources: {%s}
    devices: {%s}
  %s
`, v.name, v.namespace, grace, volumes, cpu, memory, resources, strings.Join(devices, ", "), strings.Join(spec, "\n  ")))
	f.must(err)
	objects[0].SetAnnotations(v.annotations)
	labels := map[string]string{"check": v.name}
	maps.Copy(labels, v.labels)
	objects[0].SetLabels(labels)
	return objects[0]
}

// start starts VMs side by side, waits until all run, and returns how long that took. They go with the check.
func (f *framework) start(vms ...vm) time.Duration {
	started := time.Now()
	f.create(vms...)
	for _, v := range vms {
		f.awaitRunning(v)
	}
	return time.Since(started)
}

// create creates VMs, which go with the check.
func (f *framework) create(vms ...vm) {
	for _, v := range vms {
		f.seen.vms = append(f.seen.vms, v)
		f.must(f.Apply(f.ctx, f.object(v)))
		f.t.Cleanup(func() {
			f.explain() // while it is still there
			f.removeNow(v)
		})
	}
}

// awaitRunning waits until the VM runs; one that has failed is not waited for.
func (f *framework) awaitRunning(v vm) {
	f.eventually("VM "+v.key()+" to run", func() error {
		phase, err := f.phase(v)
		require.NotEqual(f.t, "Failed", phase, "VM %s", v.key())
		if err == nil && phase != "Running" {
			err = fmt.Errorf("phase %s", phase)
		}
		return err
	})
}

// phase is the VM's, or "gone".
func (f *framework) phase(v vm) (string, error) {
	object, err := f.Get(f.ctx, vmiKind, v.namespace, v.name)
	if cluster.IsNotFound(err) {
		return "gone", nil
	}
	if err != nil {
		return "", err
	}
	phase, _, err := unstructured.NestedString(object.Object, "status", "phase")
	return phase, err
}

// isIn returns an error unless the VM is in the phase.
func (f *framework) isIn(v vm, phase string) error {
	now, err := f.phase(v)
	if err == nil && now != phase {
		err = fmt.Errorf("phase %s", now)
	}
	return err
}

// remove deletes VMs and waits until they and their pods are gone: virt-handler refuses a VM while it remembers one of the
// same name ("ghost record").
func (f *framework) remove(vms ...vm) {
	for _, v := range vms {
		f.must(f.Client.Delete(f.ctx, f.object(v)))
	}
	for _, v := range vms {
		f.eventually("VM "+v.key()+" to be gone", func() error { return f.isIn(v, "gone") })
		f.until("the pods of "+v.key()+" to be gone", func() bool { return len(f.pods(v.namespace, "check="+v.name)) == 0 }, nil)
	}
}

// removeNow removes the VM without waiting for its guest.
func (f *framework) removeNow(v vm) {
	resource, err := f.Resource(vmiKind, v.namespace)
	f.must(err)
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	if err := resource.Delete(f.ctx, v.name, now); !cluster.IsNotFound(err) {
		f.must(err)
	}
	f.must(f.CoreV1().Pods(v.namespace).DeleteCollection(f.ctx, now, metav1.ListOptions{LabelSelector: "check=" + v.name}))
	assert.Eventually(f.t, func() bool { return f.isIn(v, "gone") == nil }, patience, 300*time.Millisecond, // not require: there are others to remove
		"VM %s to be gone", v.key())
}

// pods are those in the namespace with the labels.
func (f *framework) pods(namespace, selector string) []corev1.Pod {
	list, err := f.CoreV1().Pods(namespace).List(f.ctx, metav1.ListOptions{LabelSelector: selector})
	f.must(err)
	return list.Items
}

// pod returns the VM's virt-launcher pod, once there is one.
func (f *framework) pod(v vm) *corev1.Pod {
	var found corev1.Pod
	f.eventually("the pod of "+v.key(), func() error {
		vmi, err := f.Get(f.ctx, vmiKind, v.namespace, v.name)
		if err != nil {
			return err
		}
		pods := f.pods(v.namespace, "kubevirt.io=virt-launcher")
		// The name alone may be that of an earlier VM.
		i := slices.IndexFunc(pods, func(pod corev1.Pod) bool { return metav1.IsControlledBy(&pod, vmi) })
		if i < 0 {
			return fmt.Errorf("none of %d pods", len(pods))
		}
		found = pods[i]
		return nil
	})
	return &found
}

// launchers are the VM's pods that have not ended: two while it migrates.
func (f *framework) launchers(v vm) []corev1.Pod {
	return slices.DeleteFunc(f.pods(v.namespace, "check="+v.name), func(pod corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	})
}

// awaitNewPods waits until pods of VMs like v are as wanted: it creates a VM and removes it, again and again. What a pod
// becomes may change a moment after its cause: KubeVirt and the API server watch their configuration.
func (f *framework) awaitNewPods(v vm, what string, wanted func(*corev1.Pod) bool) {
	v.node = nowhere
	name, attempt := v.name, 0
	f.until(what, func() bool {
		attempt++
		v.name = fmt.Sprintf("%s-probe-%d", name, attempt)
		f.must(f.Apply(f.ctx, f.object(v)))
		defer f.removeNow(v)
		return wanted(f.pod(v))
	}, nil)
}

// emulated makes VMs that start from now on run with software emulation, until the check ends. KubeVirt has no such
// setting for one VM: checks that run beside others use the default, KVM.
func (f *framework) emulated() {
	f.t.Cleanup(func() { f.emulate(false) })
	f.emulate(true)
}

func (f *framework) emulate(on bool) {
	f.patchKubeVirt(`{"developerConfiguration":{"useEmulation":%t}}`, on)
	f.awaitNewPods(vm{namespace: plain, name: "emulate"}, "KubeVirt to change the kind of VM", func(pod *corev1.Pod) bool {
		_, kvm := pod.Spec.Containers[0].Resources.Limits["devices.kubevirt.io/kvm"]
		return kvm != on
	})
}

// patchKubeVirt merges a JSON text into KubeVirt's configuration.
func (f *framework) patchKubeVirt(text string, values ...any) {
	f.must(f.Patch(f.ctx, cluster.KubeVirtKind, "kubevirt", "kubevirt", fmt.Sprintf(`{"spec":{"configuration":%s}}`, fmt.Sprintf(text, values...))))
}

func hasSidecar(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == sidecar })
}

// sidecarOf returns the VM's sidecar as its pod has it.
func (f *framework) sidecarOf(v vm) corev1.Container {
	containers := f.pod(v).Spec.InitContainers
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == sidecar })
	require.NotEqual(f.t, -1, i, "%s has no sidecar", v.key())
	return containers[i]
}

// status returns the state of one of the pod's containers.
func status(pod *corev1.Pod, container string) corev1.ContainerStatus {
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	if i := slices.IndexFunc(all, func(s corev1.ContainerStatus) bool { return s.Name == container }); i >= 0 {
		return all[i]
	}
	return corev1.ContainerStatus{}
}

// sidecarState returns the state of the VM's sidecar.
func (f *framework) sidecarState(v vm) corev1.ContainerStatus { return status(f.pod(v), sidecar) }

// computeID is another one after the VM's own container was restarted.
func (f *framework) computeID(v vm) string { return status(f.pod(v), "compute").ContainerID }

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// awaitReady waits until the VM's pod is ready.
func (f *framework) awaitReady(v vm) {
	f.until("the pod of "+v.key()+" to be ready", func() bool { return isReady(f.pod(v)) }, nil)
}

package checks

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A VM that opted out, or a pod that could not use a sidecar, has none.
func TestNoSidecar(t *testing.T) {
	t.Parallel()
	f := connect(t)
	for _, v := range []vm{
		{namespace: labelled, name: "opted-out", annotations: map[string]string{inject: "false"}, node: nowhere},
		{namespace: plain, name: "unlabelled", node: nowhere},
	} {
		f.create(v)
		require.False(t, hasSidecar(f.pod(v)), "a sidecar in the pod of %s", v.key())
	}
	wanted := vm{namespace: labelled, name: "wanted", node: nowhere}
	f.create(wanted)
	pod := f.pod(wanted)
	require.True(t, hasSidecar(pod), "the same VM without the annotation has one")

	// Pods as KubeVirt 1.9 makes them for a disk that is plugged in, and to hold a place (template.go), from a genuine
	// virt-launcher pod.
	for name, change := range map[string]func(*corev1.Pod){
		"hotplug":      func(p *corev1.Pod) { p.Labels["kubevirt.io"] = "hotplug-disk" },
		"provisioning": func(p *corev1.Pod) { p.Annotations["kubevirt.io/ephemeral-provisioning"] = "" },
		"ordinary":     func(p *corev1.Pod) { delete(p.Labels, "kubevirt.io") },
	} {
		like := pod.DeepCopy()
		like.ObjectMeta = metav1.ObjectMeta{Name: name, Namespace: labelled, Labels: like.Labels, Annotations: like.Annotations}
		like.Spec.InitContainers = nil
		like.Spec.Volumes = slices.DeleteFunc(like.Spec.Volumes, func(v corev1.Volume) bool { return v.Projected != nil }) // tokens
		change(like)
		made, err := f.CoreV1().Pods(labelled).Create(f.ctx, like, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		require.NoError(t, err, name)
		require.False(t, hasSidecar(made), "a sidecar in a pod of kind %s", name)
	}
}

// A VM with dedicated CPUs stays Guaranteed, and pinned to a CPU of its own.
func TestDedicatedCPUs(t *testing.T) {
	f := connect(t)
	v := vm{namespace: labelled, name: "dedicated", dedicated: true}
	f.start(v)
	pod := f.pod(v)
	require.True(t, hasSidecar(pod))
	require.Equal(t, corev1.PodQOSGuaranteed, pod.Status.QOSClass)
	require.Contains(t, f.virsh(pod, "dumpxml", v.namespace+"_"+v.name), "<vcpupin vcpu='0' cpuset=", "the guest's CPU is pinned")
	require.Regexp(t, `^\d+\s*$`, f.exec(pod, "compute", "cat", "/sys/fs/cgroup/cpuset/cpuset.cpus"), "one CPU, exclusively")
}

// A VM with a volume of a ServiceAccount has its token mounted in every container of the pod, but not in the sidecar.
func TestNoToken(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: labelled, name: "token", account: true, node: nowhere}
	f.create(v)
	pod := f.pod(v)
	tokens := map[string]bool{}
	for _, volume := range pod.Spec.Volumes {
		tokens[volume.Name] = volume.Projected != nil || volume.Secret != nil
	}
	isToken := func(mount corev1.VolumeMount) bool { return tokens[mount.Name] }
	require.True(t, slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, isToken), "compute has a token")
	require.False(t, slices.ContainsFunc(f.sidecarOf(v).VolumeMounts, isToken), "%v", f.sidecarOf(v).VolumeMounts)
}

// What a VM's owner writes into its template neither names another VM nor hides this one: KubeVirt copies it to the pod,
// kubevirt.io/domain over its own value.
func TestNames(t *testing.T) {
	t.Parallel()
	f := connect(t)
	const vmiAnnotation = "hypervisor-exporter.kubevirt.io/vmi"
	web := vm{namespace: labelled, name: "names-web"}
	forged := vm{namespace: labelled, name: "names-forged",
		annotations: map[string]string{"kubevirt.io/domain": web.name, vmiAnnotation: web.name},
		labels:      map[string]string{"kubevirt-io": "x"}, // the same Prometheus label as kubevirt.io
	}
	nonsense := vm{namespace: labelled, name: "names-nonsense", annotations: map[string]string{"kubevirt.io/domain": "My VM"}}
	all := []vm{web, forged, nonsense}
	f.start(all...)
	for _, v := range all {
		pod := f.pod(v)
		found := f.awaitInfo(v)
		require.Equal(t, pod.Name, found.Metric["pod"], "%s has its own series only", v.name)
		require.Equal(t, "kvm", found.Metric["hypervisor_type"])
		require.Equal(t, v.name, pod.Annotations[vmiAnnotation])
	}
	f.requireListed(nonsense, "kvm")
	require.Equal(t, web.name, f.pod(forged).Annotations["kubevirt.io/domain"], "KubeVirt let the forged value win")
}

package clustertest

import (
	"cmp"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// labelled is what a namespace is enabled with.
func labelled() map[string]string { return map[string]string{inject.AnnotationInject: "enabled"} }

// testVM is a VM of a test.
type testVM struct {
	namespace, name string
	// fixture is the pod of webhook/inject/testdata.
	fixture string
	// phase of the VMI; empty is Running.
	phase        string
	architecture string
	node         string
	// domain is the annotation kubevirt.io/domain, which the VM's owner can write; empty is the name.
	domain string
	// socket: the sidecar listens on a socket.
	socket bool
	// bare: no VirtualMachine owns it. stays: it cannot be migrated.
	bare, stays bool
	// guestOS is what its agent says; empty without an agent.
	guestOS string
	// without leaves the sidecar out; waiting is why it does not run.
	without bool
	waiting string
	// secret is in an annotation, in the user data and in variables of all containers.
	secret string
}

// create makes the VMI and its pod as KubeVirt, the webhook and the kubelet would, and returns the pod.
func (m testVM) create(t *testing.T) *corev1.Pod {
	t.Helper()
	vmi := m.vmi(t)
	content, err := os.ReadFile("../../webhook/inject/testdata/" + m.fixture + ".yaml")
	require.NoError(t, err)
	asJSON, read, err := inject.ReadPod(content)
	require.NoError(t, err)
	if decision := inject.Decide(inject.Default("registry.example/sidecar:v1.2.3"), read); decision.Injected() && !m.without {
		asJSON, err = inject.Apply(asJSON, decision.Patch)
		require.NoError(t, err)
	}
	pod := &corev1.Pod{}
	require.NoError(t, json.Unmarshal(asJSON, pod))
	pod.Namespace, pod.Spec.NodeName, pod.Spec.Priority, pod.Spec.PreemptionPolicy = m.namespace, m.node, nil, nil
	pod.GenerateName, pod.Name = "", "virt-launcher-"+m.name+"-x"
	if pod.Annotations["kubevirt.io/domain"] != "" {
		pod.Annotations["kubevirt.io/domain"] = cmp.Or(m.domain, m.name)
	}
	controller := true
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "kubevirt.io/v1", Kind: "VirtualMachineInstance", Name: m.name, UID: vmi.GetUID(), Controller: &controller,
	}}
	if m.socket {
		addSocketVolume(pod)
	}
	if m.secret != "" {
		pod.Annotations["team.example/token"] = m.secret
		pod.Labels["team"] = m.secret
		for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
			for i := range containers {
				containers[i].Env = append(containers[i].Env, corev1.EnvVar{Name: "TOKEN", Value: m.secret})
			}
		}
	}
	stored, err := server.Client.CoreV1().Pods(m.namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	return m.report(t, stored)
}

func addSocketVolume(pod *corev1.Pod) {
	for _, volume := range pod.Spec.Volumes {
		if volume.Name == inject.VolumeName {
			return
		}
	}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: inject.VolumeName, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	})
}

func (m testVM) vmi(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	stored, err := server.Create(t.Context(), m.object(), metav1.CreateOptions{})
	require.NoError(t, err)
	return stored
}

// object is the VMI, to be created.
func (m testVM) object() *unstructured.Unstructured {
	phase, node := m.phase, m.node
	if phase == "" {
		phase = "Running"
	}
	spec, annotations := map[string]any{}, map[string]any{}
	if m.secret != "" {
		annotations["team.example/token"] = m.secret
		spec["volumes"] = []any{map[string]any{"name": "init", "cloudInitNoCloud": map[string]any{"userData": "user data of the VM: " + m.secret}}}
	}
	if m.architecture != "" {
		spec["architecture"] = m.architecture
	}
	migratable := map[string]any{"type": "LiveMigratable", "status": "True"}
	if m.stays {
		migratable = map[string]any{"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable"}
	}
	vmi := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
		"metadata": map[string]any{"namespace": m.namespace, "name": m.name, "labels": map[string]any{"vm": m.name}, "annotations": annotations},
		"spec":     spec,
		"status": map[string]any{"phase": phase, "nodeName": node, "machine": map[string]any{"type": "pc-q35-rhel9.6.0"},
			"conditions": []any{migratable}, "guestOSInfo": map[string]any{"name": m.guestOS}},
	}}
	if !m.bare {
		controller := true
		vmi.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "kubevirt.io/v1", Kind: "VirtualMachine", Name: m.name, UID: types.UID(m.name), Controller: &controller}})
	}
	return vmi
}

// report sets the status that the kubelet would.
func (m testVM) report(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	status := corev1.PodStatus{Phase: corev1.PodRunning}
	for _, container := range pod.Spec.InitContainers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		if container.Name == inject.ContainerName && m.waiting != "" {
			state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: m.waiting}}
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, corev1.ContainerStatus{Name: container.Name, State: state})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	require.NoError(t, err)
	stored, err := server.Client.CoreV1().Pods(pod.Namespace).Patch(
		t.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	return stored
}

// createNode makes a node with so many KVM devices; one that is there stays.
func createNode(t *testing.T, name, architecture string, devices string, address string, port int32) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubevirt.io/schedulable": "true"}}}
	stored, err := server.Client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		stored, err = server.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	}
	require.NoError(t, err)
	stored.Status = corev1.NodeStatus{
		NodeInfo: corev1.NodeSystemInfo{Architecture: architecture, KernelVersion: "6.1.0"},
	}
	if devices != "" {
		list := corev1.ResourceList{"devices.kubevirt.io/kvm": quantity(devices)}
		stored.Status.Allocatable, stored.Status.Capacity = list, corev1.ResourceList{"devices.kubevirt.io/kvm": quantity("1k")}
	}
	if address != "" {
		stored.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		stored.Status.DaemonEndpoints.KubeletEndpoint.Port = port
	}
	_, err = server.Client.CoreV1().Nodes().UpdateStatus(t.Context(), stored, metav1.UpdateOptions{})
	require.NoError(t, err)
}

// kubeVirt makes the KubeVirt object.
func kubeVirt(t *testing.T, emulation bool) {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt",
		"metadata": map[string]any{"namespace": "default", "name": "kubevirt"},
		"spec":     map[string]any{"configuration": map[string]any{"developerConfiguration": map[string]any{"useEmulation": emulation}}},
		"status":   map[string]any{"phase": "Deployed", "observedKubeVirtVersion": "v1.9.0", "observedKubeVirtRegistry": "mirror.example/kubevirt"},
	}}
	require.NoError(t, server.Apply(t.Context(), object))
}

func quantity(text string) resource.Quantity { return resource.MustParse(text) }

package inject_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
	"pgregory.net/rapid"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

type object = map[string]any

// TestRandomPods draws pods as JSON, so that they have fields that our types do not know, and checks
// each with checkDecision.
func TestRandomPods(t *testing.T) {
	seen := map[inject.Reason]int{}
	check(t, func() bool { return seen[inject.Injected] > 0 && len(seen) > 3 }, func(t *rapid.T) {
		cfg := randomConfig(t)
		podJSON, err := json.Marshal(randomPod(t))
		require.NoError(t, err)
		pod, err := inject.ParsePod(podJSON)
		require.NoError(t, err)
		seen[checkDecision(t, cfg, podJSON, pod).Reason]++
	})
}

// TestPodLevelRoom: the room in pod-level resources is counted as Kubernetes does.
func TestPodLevelRoom(t *testing.T) {
	seen := map[inject.Reason]int{}
	check(t, func() bool { return seen[inject.Injected] > 0 && seen[inject.PodLevelResources] > 0 }, func(t *rapid.T) {
		random := randomPod(t)
		random["spec"].(object)["resources"] = resources(t)
		delete(random["metadata"].(object), "annotations")
		podJSON, err := json.Marshal(random)
		require.NoError(t, err)
		pod, err := inject.ParsePod(podJSON)
		require.NoError(t, err)
		reason := inject.Decide(testConfig(), pod).Reason
		seen[reason]++
		if reason == inject.Injected || reason == inject.PodLevelResources {
			require.Equal(t, hasRoom(decoded(t, podJSON)), reason == inject.Injected)
		}
	})
}

// check draws until the draws have covered enough: of the few that rapid makes by default, none may be of a kind.
func check(t *testing.T, enough func() bool, property func(*rapid.T)) {
	t.Helper()
	for range 50 {
		rapid.Check(t, property)
		if enough() {
			return
		}
	}
	require.Fail(t, "the random pods differ too little")
}

func hasRoom(pod *corev1.Pod) bool {
	cfg, always := testConfig(), corev1.ContainerRestartPolicyAlways
	// First, as the patch has it: ordinary init containers run beside it.
	pod.Spec.InitContainers = slices.Insert(pod.Spec.InitContainers, 0, corev1.Container{RestartPolicy: &always, Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: cfg.CPU, corev1.ResourceMemory: cfg.Memory},
	}})
	sums := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, list := range []corev1.ResourceList{pod.Spec.Resources.Requests, pod.Spec.Resources.Limits} {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			sum := sums[name]
			if room, ok := list[name]; ok && sum.Cmp(room) > 0 {
				return false
			}
		}
	}
	return true
}

func randomConfig(t *rapid.T) inject.Config {
	cfg := testConfig()
	cfg.Exposure = rapid.SampledFrom([]inject.Exposure{inject.Unix, inject.Direct}).Draw(t, "exposure")
	cfg.Port = rapid.SampledFrom([]int32{9477, 9477, 8080}).Draw(t, "port")
	cfg.PullSecrets = rapid.SampledFrom([][]string{nil, nil, {"regcred"}}).Draw(t, "pull secrets")
	require.NoError(t, cfg.Validate())
	return cfg
}

func randomPod(t *rapid.T) object {
	metadata := unknown(t, object{"name": name(t), "namespace": "default"})
	put(t, metadata, "labels", object{"kubevirt.io": mostly(t, "virt-launcher", "hotplug-disk"), text(t): text(t)})
	put(t, metadata, "ownerReferences", []any{object{
		"apiVersion": mostly(t, "kubevirt.io/v1", "apps/v1"), "kind": mostly(t, "VirtualMachineInstance", "ReplicaSet"),
		"name": mostly(t, "web.shop", "My VM"), "uid": "u", "controller": rapid.IntRange(0, 19).Draw(t, "controller") > 0}})
	annotations := object{"kubevirt.io/domain": text(t), text(t): text(t)}
	if rarely(t) {
		annotations[contract.AnnotationVMI] = text(t)
	}
	for _, key := range []string{inject.AnnotationCPU, inject.AnnotationMemory, inject.AnnotationInject, inject.AnnotationStatus} {
		if rarely(t) {
			annotations[key] = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"false", "true", "1", "20m", "64Mi", "1e9", "-1", "0"})).Draw(t, key)
		}
	}
	if rarely(t) {
		annotations["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"] = rapid.SampledFrom([]string{"", "a,b"}).Draw(t, "safe volumes")
	}
	if rarely(t) {
		annotations["container.apparmor.security.beta.kubernetes.io/compute"] = rapid.SampledFrom([]string{"unconfined", "runtime/default", "localhost/vm", "localhost/", "x"}).Draw(t, "AppArmor annotation")
	}
	put(t, metadata, "annotations", annotations)

	compute := randomContainer(t)
	compute["name"] = mostly(t, "compute", "other")
	mounts, _ := compute["volumeMounts"].([]any)
	compute["volumeMounts"] = append(mounts, object{"name": mostly(t, "libvirt-runtime", "x"), "mountPath": "/var/run/libvirt"})
	containers := append(containerList(t), compute)
	spec := unknown(t, object{"containers": containers, "volumes": []any{object{"name": "libvirt-runtime", "emptyDir": object{}}, unknown(t, object{"name": mostly(t, "other", inject.VolumeName)})}})
	switch rapid.IntRange(0, 4).Draw(t, "init containers") {
	case 0: // none
	case 1:
		spec["initContainers"] = nil
	default:
		spec["initContainers"] = containerList(t)
	}
	if rarely(t) {
		spec["resources"] = resources(t)
	}
	if rarely(t) {
		spec["hostNetwork"] = true
	}
	if rarely(t) {
		spec["nodeSelector"] = object{"kubernetes.io/arch": mostly(t, "amd64", "ppc64le")}
	}
	if rarely(t) {
		spec["affinity"] = object{"nodeAffinity": object{"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": []any{
			object{"matchExpressions": []any{object{"key": "kubernetes.io/arch", "operator": mostly(t, "In", "NotIn"), "values": []any{mostly(t, "s390x", "ppc64le")}}}}}}}}
	}
	if rarely(t) {
		spec["imagePullSecrets"] = []any{object{"name": "other"}, object{"name": "regcred"}}
	}
	if !rarely(t) {
		spec["securityContext"] = security(t)
	}
	return unknown(t, object{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

func containerList(t *rapid.T) []any {
	list := []any{}
	for range rapid.IntRange(0, 3).Draw(t, "containers") {
		list = append(list, randomContainer(t))
	}
	return list
}

func randomContainer(t *rapid.T) object {
	c := unknown(t, object{"name": name(t), "image": text(t)})
	put(t, c, "resources", resources(t))
	put(t, c, "securityContext", security(t))
	if rarely(t) {
		c["ports"] = []any{object{"containerPort": rapid.SampledFrom([]int{80, 9477, 8080}).Draw(t, "port"), "protocol": mostly(t, "TCP", "UDP"), "name": mostly(t, "http", inject.PortName)}}
	}
	if rarely(t) {
		c["restartPolicy"] = "Always"
	}
	return c
}

func resources(t *rapid.T) object {
	quantity := rapid.SampledFrom([]string{"0", "10m", "1", "2", "64Mi", "1Gi", "100M", "1e3", "0.1"})
	list := func(label string) object {
		l := object{}
		for _, resource := range []string{"cpu", "memory", "devices.kubevirt.io/kvm", "ephemeral-storage"} {
			if rapid.Bool().Draw(t, label+resource) {
				l[resource] = quantity.Draw(t, resource)
			}
		}
		return l
	}
	r := object{}
	put(t, r, "requests", list("requests"))
	put(t, r, "limits", list("limits"))
	if rarely(t) {
		r["limits"] = r["requests"]
	}
	if limits, ok := r["limits"].(object); ok { // the API server's default (SetDefaults_Pod), set before admission
		requests, _ := r["requests"].(object)
		all := maps.Clone(limits)
		maps.Copy(all, requests)
		r["requests"] = all
	}
	return r
}

func security(t *rapid.T) object {
	s := object{}
	if rapid.Bool().Draw(t, "uid") {
		s["runAsUser"] = rapid.SampledFrom([]int{0, 107, 1337}).Draw(t, "uid")
	}
	put(t, s, "runAsNonRoot", rapid.Bool().Draw(t, "non-root"))
	put(t, s, "allowPrivilegeEscalation", false)
	put(t, s, "capabilities", object{"drop": []any{"ALL"}})
	put(t, s, "seccompProfile", object{"type": "RuntimeDefault"})
	if rarely(t) {
		s["seLinuxOptions"] = object{"level": "s0:c1,c2", "type": mostly(t, "container_t", "virt_launcher.process")}
	}
	if rarely(t) {
		s["appArmorProfile"] = rapid.SampledFrom([]object{{"type": "RuntimeDefault"}, {"type": "Unconfined"}, {"type": "Localhost", "localhostProfile": "vm"}}).Draw(t, "AppArmor")
	}
	return s
}

// unknown sometimes adds what only a newer API knows.
func unknown(t *rapid.T, o object) object {
	if rarely(t) {
		o["fieldOf"+strings.ToUpper(rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "field"))] = []any{text(t), json.Number("12345678901234567890"), nil, object{"a/b~c": 1.5}}
	}
	return o
}

func put(t *rapid.T, o object, key string, value any) {
	if rapid.IntRange(0, 7).Draw(t, key) > 0 {
		o[key] = value
	}
}

func name(t *rapid.T) string {
	return rapid.OneOf(rapid.StringMatching(`[a-z]{1,8}`), rapid.SampledFrom([]string{"istio-proxy", "guest-console-log", inject.ContainerName, "other"})).Draw(t, "name")
}

func text(t *rapid.T) string {
	return rapid.OneOf(rapid.StringMatching(`[a-z./~]{1,12}`), rapid.String()).Draw(t, "text")
}

func mostly(t *rapid.T, usual, unusual string) string {
	if rapid.IntRange(0, 19).Draw(t, usual) == 19 {
		return unusual
	}
	return usual
}

func rarely(t *rapid.T) bool { return rapid.IntRange(0, 5).Draw(t, "rarely") == 5 }

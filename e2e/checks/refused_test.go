package checks

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/images"
)

// refusalLimit is how long a VM may wait for its pod because the pod was refused with the sidecar. KubeVirt's retries
// begin after 5 ms and double.
const refusalLimit = 20 * time.Second

// refusal is a rule of a namespace or of the cluster that KubeVirt's pod obeys, and the pod with our sidecar does not.
type refusal struct {
	name    string
	objects string // %[1]s is the namespace, %[2]s the memory that KubeVirt's own pod asks for and a little more
	says    string // in the API server's refusal
}

func refusals() []refusal {
	return []refusal{
		{"least-memory", `
apiVersion: v1
kind: LimitRange
metadata: {name: least-memory, namespace: %[1]s}
spec: {limits: [{type: Container, min: {memory: 32Mi}}]}
`, "minimum memory usage per Container is 32Mi"},
		// KubeVirt's guest-console-log has a limit of CPU also where the VM has none, so that a pod's ratio can be kept.
		{"cpu-ratio", `
apiVersion: v1
kind: LimitRange
metadata: {name: cpu-ratio, namespace: %[1]s}
spec: {limits: [{type: Pod, maxLimitRequestRatio: {cpu: "3"}}]}
`, "cpu max limit to request ratio per Pod is 3"},
		{"quota", `
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota, namespace: %[1]s}
spec: {hard: {requests.memory: %[2]s}}
`, "exceeded quota: quota"},
		{"image-list", `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  validations:
  - expression: "(object.spec.containers + object.spec.?initContainers.orValue([])).all(c, c.image.startsWith('e2e.local/'))"
    message: this image is not on the list
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec:
  policyName: %[1]s
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}}
`, "this image is not on the list"},
	}
}

// Whatever refuses a VM's pod for our sidecar, the VM starts without it within seconds: after the pod has been refused
// twice, the webhook leaves it alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	memory := connect(t).launcherMemory(t)
	for _, r := range refusals() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			w := connect(t)
			v := vm{namespace: "refused-" + r.name, name: "refused"}
			require.NoError(t, w.Namespace(t.Context(), v.namespace, map[string]string{inject: "enabled"}))
			room := memory.DeepCopy()
			room.Add(resource.MustParse("8Mi"))
			w.impose(t, v.namespace, fmt.Sprintf(r.objects, v.namespace, room.String()))
			w.awaitRefusal(t, v.namespace, room, r.says)
			before := w.leftAlone(t, "refused_before")

			states := w.watch(t, v)
			created := time.Now()
			took := w.start(t, v)
			admitted, ok := states.at("pod Pending")
			require.True(t, ok, states.states())
			t.Logf("%s: the pod was admitted %.1f s after its VM was created, and the VM ran after %.1f s",
				r.name, admitted.Sub(created).Seconds(), took.Seconds())
			require.Less(t, admitted.Sub(created), refusalLimit)
			require.False(t, hasSidecar(w.pod(t, v)))
			w.awaitReady(t, v)
			w.awaitRefusedPods(t, v, r.says, 2)
			t.Logf("KubeVirt's events tell of %d refused pods", w.refusedPods(t, v, r.says))
			w.requireWarned(t, created)
			w.requireToldRefused(t, v, r.says)
			w.awaitLeftAlone(t, "refused_before", before)
			if r.name == "quota" { // the alert is one for all VMs
				w.awaitAlert(t, "HypervisorExporterPodsRefused", map[string]string{})
			}
		})
	}
}

// A VM that waits for a quota with room for no VM starts when there is room, and the webhook's memory of its refused
// pods keeps no one waiting: KubeVirt's own retries do.
func TestQuotaRaised(t *testing.T) {
	t.Parallel()
	w := connect(t)
	v := vm{namespace: "quota-raised", name: "waiting"}
	require.NoError(t, w.Namespace(t.Context(), v.namespace, map[string]string{inject: "enabled"}))
	quota := func(memory string) string {
		return fmt.Sprintf("{apiVersion: v1, kind: ResourceQuota, metadata: {name: quota, namespace: %s}, spec: {hard: {requests.memory: %s}}}", v.namespace, memory)
	}
	w.impose(t, v.namespace, quota("64Mi"))
	w.awaitRefusal(t, v.namespace, resource.MustParse("64Mi"), "exceeded quota")
	states := w.watch(t, v)
	w.create(t, v)
	w.awaitRefusedPods(t, v, "exceeded quota", 6)
	require.NotContains(t, states.states(), "pod Pending")
	objects, err := cluster.Objects([]byte(quota("2Gi")))
	require.NoError(t, err)
	require.NoError(t, w.Apply(t.Context(), objects...))
	raised := time.Now()
	w.awaitRunning(t, v)
	pod := w.pod(t, v)
	t.Logf("refused %d times; it ran %.1f s after the quota was raised, with a sidecar: %t",
		w.refusedPods(t, v, "exceeded quota"), time.Since(raised).Seconds(), hasSidecar(pod))
	w.awaitReady(t, v)
	if hasSidecar(pod) {
		w.awaitTarget(t, v, "up")
	}
}

// launcherMemory is what the containers of KubeVirt's own pod ask for together.
func (w *world) launcherMemory(t *testing.T) resource.Quantity {
	t.Helper()
	v := vm{namespace: plain, name: "refused-size", nowhere: true}
	w.create(t, v)
	pod := w.pod(t, v)
	var sum resource.Quantity
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) { // each of the former is a native sidecar
		sum.Add(c.Resources.Requests[corev1.ResourceMemory])
	}
	return sum
}

// awaitRefusal waits until the API server refuses a pod with a sidecar like ours, and for the reason expected.
func (w *world) awaitRefusal(t *testing.T, namespace string, memory resource.Quantity, says string) {
	t.Helper()
	always := corev1.ContainerRestartPolicyAlways
	list := func(cpu string, memory resource.Quantity) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: memory}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "with-sidecar", Namespace: namespace}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "like-ours", Image: "localhost/ours", RestartPolicy: &always, Resources: corev1.ResourceRequirements{
			Requests: list("10m", resource.MustParse("24Mi")), Limits: list("500m", resource.MustParse("24Mi")),
		}}},
		Containers: []corev1.Container{{Name: "main", Image: images.Pause, Resources: corev1.ResourceRequirements{Requests: list("100m", memory)}}},
	}}
	eventually(t, time.Minute, "the API server to refuse a pod in "+namespace, func(ctx context.Context) error {
		_, err := w.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err == nil:
			return errors.New("it takes the pod")
		case !strings.Contains(err.Error(), says), !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err):
			return err
		}
		return nil
	})
}

// refusedPods is how many refusals of the VM's pod KubeVirt's events tell of.
func (w *world) refusedPods(t *testing.T, v vm, says string) int {
	t.Helper()
	vmi, err := w.Get(t.Context(), vmiKind, v.namespace, v.name)
	require.NoError(t, err)
	events, err := w.CoreV1().Events(v.namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(vmi.GetUID())})
	require.NoError(t, err)
	refused := 0
	for _, e := range events.Items {
		if e.Reason == "FailedCreate" && strings.Contains(e.Message, says) {
			refused += int(e.Count)
		}
	}
	return refused
}

func (w *world) awaitRefusedPods(t *testing.T, v vm, says string, times int) {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("KubeVirt's events to tell of %d refused pods", times), func(context.Context) error {
		if refused := w.refusedPods(t, v, says); refused < times {
			return fmt.Errorf("%d", refused)
		}
		return nil
	})
}

// requireToldRefused fails unless the plugin says why the VM has no sidecar, and what refused it.
func (w *world) requireToldRefused(t *testing.T, v vm, says string) {
	t.Helper()
	reader := w.reader(t, "ctl-"+v.namespace, v.namespace)
	require.Equal(t, "refused_before", told(t, reader, v).Reason)
	got := reader.call(t, "check", "-n", v.namespace)
	require.Contains(t, got.out, "refused_before")
	require.Contains(t, got.out, v.namespace+"/"+v.name)
	got = reader.call(t, "explain", v.name, "-n", v.namespace)
	require.Contains(t, got.out, says)
}

// leftAlone is how many pods the webhook has left alone for a reason.
func (w *world) leftAlone(t *testing.T, reason string) float64 {
	t.Helper()
	found, err := w.Query(t.Context(), fmt.Sprintf(`sum(hypervisor_exporter_webhook_admissions_total{reason=%q})`, reason))
	require.NoError(t, err)
	if len(found) == 0 {
		return 0
	}
	n, err := strconv.ParseFloat(found[0].Value[1].(string), 64)
	require.NoError(t, err)
	return n
}

func (w *world) awaitLeftAlone(t *testing.T, reason string, before float64) {
	t.Helper()
	eventually(t, time.Minute, "the webhook's counter of "+reason+" to grow", func(context.Context) error {
		if now := w.leftAlone(t, reason); now <= before {
			return fmt.Errorf("it is %v, and was %v", now, before)
		}
		return nil
	})
}

// requireWarned fails unless KubeVirt's log has the webhook's warning that the VM's pod was left alone.
func (w *world) requireWarned(t *testing.T, since time.Time) {
	t.Helper()
	pods, err := w.CoreV1().Pods("kubevirt").List(t.Context(), metav1.ListOptions{LabelSelector: "kubevirt.io=virt-controller"})
	require.NoError(t, err)
	var logs strings.Builder
	for _, pod := range pods.Items {
		log, err := w.CoreV1().Pods("kubevirt").GetLogs(pod.Name, &corev1.PodLogOptions{SinceTime: &metav1.Time{Time: since}}).DoRaw(t.Context())
		require.NoError(t, err)
		logs.Write(log)
	}
	require.Regexp(t, `Warning: hypervisor-exporter: not injected: the API server refused this VM's pods`, logs.String())
}

package checks

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/e2e/images"
)

// mostRefusals is how often a VM's pod may be refused before it starts without the sidecar. KubeVirt's retries begin after
// 5 ms and double: the twelfth comes after 20 s.
const mostRefusals = 12

// refusal is a rule of a namespace or of the cluster that KubeVirt's pod obeys, and the pod with our sidecar does not.
type refusal struct {
	name    string
	objects string // %[1]s is the namespace, %[2]s the memory that KubeVirt's own pod requests and a little more
	reason  string // in the API server's refusal
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

// Whatever refuses a VM's pod because of our sidecar, the VM starts without it after a few refusals. On a busy machine one
// refusal is enough: the webhook leaves alone the pod that comes a second after the first.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := connect(t)
	memory := f.launcherMemory()
	memory.Add(resource.MustParse("8Mi"))
	for _, r := range refusals() {
		f.part(r.name, func(f *framework) {
			f.t.Parallel()
			v := vm{namespace: "refused-" + r.name, name: "refused"}
			f.namespace(v.namespace)
			f.impose(r.objects, v.namespace, memory.String())
			f.awaitRefusal(v.namespace, memory, r.reason)
			const leftAlone = `sum(hypervisor_exporter_webhook_admissions_total{reason="refused_before"})`
			before := f.number(leftAlone)

			created := time.Now()
			took := f.start(v)
			f.t.Logf("%s: the VM ran after %.1f s", r.name, took.Seconds())
			require.False(f.t, hasSidecar(f.pod(v)))
			f.awaitReady(v)
			f.awaitRefusedPods(v, r.reason, 1)
			require.LessOrEqual(f.t, f.refusedPods(v, r.reason), mostRefusals)
			f.requireWarned(created)
			f.requireRefusalListed(v, r.reason)
			f.awaitSeries("%s > %f", leftAlone, before)
			if r.name == "quota" { // the alert is one for all VMs
				f.awaitOwnAlert("HypervisorExporterPodsRefused", map[string]string{})
			}
		})
	}
}

// A VM that waits for a quota with room for no VM starts when there is room, and the webhook's memory of its refused pods
// delays no VM: KubeVirt's own retries do.
func TestQuotaRaised(t *testing.T) {
	t.Parallel()
	f := connect(t)
	v := vm{namespace: "quota-raised", name: "waiting"}
	f.namespace(v.namespace)
	const quota = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: quota, namespace: %s}, spec: {hard: {requests.memory: %s}}}"
	f.impose(quota, v.namespace, "64Mi")
	f.awaitRefusal(v.namespace, resource.MustParse("64Mi"), "exceeded quota")
	states := f.watch(v)
	f.create(v)
	f.awaitRefusedPods(v, "exceeded quota", 6)
	require.NotContains(t, states.states(), "pod Pending")
	f.apply(quota, v.namespace, "2Gi")
	raised := time.Now()
	f.awaitRunning(v)
	t.Logf("refused %d times; it ran %.1f s after the quota was raised, with a sidecar: %t",
		f.refusedPods(v, "exceeded quota"), time.Since(raised).Seconds(), hasSidecar(f.pod(v)))
	f.awaitReady(v)
	if hasSidecar(f.pod(v)) {
		f.awaitTarget(v, "up")
	}
}

// launcherMemory is what the containers of KubeVirt's own pod request together.
func (f *framework) launcherMemory() (sum resource.Quantity) {
	v := vm{namespace: plain, name: "refused-size", node: nowhere}
	f.create(v)
	pod := f.pod(v)
	for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) { // each of the former is a native sidecar
		sum.Add(c.Resources.Requests[corev1.ResourceMemory])
	}
	return sum
}

// awaitRefusal waits until the API server refuses a pod with a sidecar like ours, and for the reason expected.
func (f *framework) awaitRefusal(namespace string, memory resource.Quantity, reason string) {
	list := func(cpu string, memory resource.Quantity) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: memory}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "with-sidecar", Namespace: namespace}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "like-ours", Image: "localhost/ours", RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
			Resources: corev1.ResourceRequirements{
				Requests: list("10m", resource.MustParse("24Mi")), Limits: list("500m", resource.MustParse("24Mi")),
			}}},
		Containers: []corev1.Container{{Name: "main", Image: images.Pause, Resources: corev1.ResourceRequirements{Requests: list("100m", memory)}}},
	}}
	f.eventually("the API server to refuse a pod in "+namespace, func() error {
		_, err := f.CoreV1().Pods(namespace).Create(f.ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err == nil:
			return errors.New("it admits the pod")
		case !strings.Contains(err.Error(), reason), !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err):
			return err
		}
		return nil
	})
}

// refusedPods is how many refusals of the VM's pod KubeVirt's events report.
func (f *framework) refusedPods(v vm, reason string) (refused int) {
	vmi, err := f.Get(f.ctx, vmiKind, v.namespace, v.name)
	f.must(err)
	events, err := f.CoreV1().Events(v.namespace).List(f.ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(vmi.GetUID())})
	f.must(err)
	for _, e := range events.Items {
		if e.Reason == "FailedCreate" && strings.Contains(e.Message, reason) {
			refused += int(e.Count)
		}
	}
	return refused
}

func (f *framework) awaitRefusedPods(v vm, reason string, times int) {
	f.until(fmt.Sprintf("KubeVirt's events to report %d refused pods", times), func() bool { return f.refusedPods(v, reason) >= times },
		func() any { return f.refusedPods(v, reason) })
}

// requireRefusalListed fails unless the plugin shows why the VM has no sidecar, and what refused it.
func (f *framework) requireRefusalListed(v vm, reason string) {
	reader := f.reader("ctl-"+v.namespace, v.namespace)
	require.Equal(f.t, "refused_before", listed(f.t, reader, v).Reason)
	got := reader.call(f.t, "check", "-n", v.namespace)
	require.Contains(f.t, got.out, "refused_before")
	require.Contains(f.t, got.out, v.key())
	require.Contains(f.t, reader.call(f.t, "explain", v.name, "-n", v.namespace).out, reason)
}

// requireWarned fails unless KubeVirt's log has the webhook's warning that the VM's pod was left alone.
func (f *framework) requireWarned(since time.Time) {
	var logs strings.Builder
	for _, pod := range f.pods("kubevirt", "kubevirt.io=virt-controller") {
		log, err := f.CoreV1().Pods("kubevirt").GetLogs(pod.Name, &corev1.PodLogOptions{SinceTime: &metav1.Time{Time: since}}).DoRaw(f.ctx)
		f.must(err)
		logs.Write(log)
	}
	require.Regexp(f.t, `Warning: hypervisor-exporter: not injected: the API server refused this VM's pods`, logs.String())
}

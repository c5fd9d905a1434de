package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubevirt-hypervisor-exporter/internal/contract"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The texts of every field in these tests: one with all that a terminal interprets, and one that YAML would print as a block
// of lines.
const (
	hostile = "x\x1b[2J\x1b]0;t\x07\r\n\tFORGED \u009b31m\u0085\u202e\u2066\u200f\u2028FORGED\u2029\nFORGED\x7f"
	lines   = "x\nFORGED line\nFORGED"
)

// fill sets every field of v, and every string to the text.
func fill(v reflect.Value, text string, depth int) {
	switch v.Interface().(type) {
	case metav1.Time, metav1.MicroTime, metav1.FieldsV1, runtime.RawExtension:
		return
	case resource.Quantity:
		v.Set(reflect.ValueOf(resource.MustParse("1")))
		return
	case intstr.IntOrString:
		v.Set(reflect.ValueOf(intstr.FromString(text)))
		return
	case []byte:
		v.SetBytes([]byte(text))
		return
	}
	if depth == 0 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, depth-1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, depth-1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text, depth-1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, text, depth-1)
		fill(value, text, depth-1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	default:
	}
}

func filled[T any](text string) *T {
	object := new(T)
	fill(reflect.ValueOf(object).Elem(), text, 9) // deep enough for the name of a variable of a container of a Deployment
	return object
}

// hostileServer is an API server and a Prometheus. All their strings are hostile but those that a command needs to read on.
type hostileServer struct {
	// text is what every string is.
	text string
	// launchers change the virt-launcher pods; each makes one.
	launchers []func(*corev1.Pod)
	// unset is a name of needed that is hostile, too.
	unset string
	// broken is the path of requests that are answered with a hostile error of the status.
	broken *regexp.Regexp
	status int
}

// needed returns a value that a command needs to read on, unless it should be hostile as well.
func (e hostileServer) needed(name, value string) string {
	if e.unset == name {
		return e.text
	}
	return value
}

// neededNames are the names that needed is called with.
var neededNames = []string{"phase", "kind", "init", "compute", "webhook", "type", "scheme", "enabled", "deployed", "capacity", "owner", "facts"}

func (e hostileServer) pod(change func(*corev1.Pod)) corev1.Pod {
	pod := filled[corev1.Pod](e.text)
	yes := true
	pod.OwnerReferences[0].Kind, pod.OwnerReferences[0].APIVersion, pod.OwnerReferences[0].Controller = e.needed("kind", contract.VMIKind), "kubevirt.io/v1", &yes
	pod.Annotations[inject.AnnotationStatus] = e.text
	pod.Annotations["kubevirt.io/domain"] = e.text
	pod.DeletionTimestamp = nil
	pod.Spec.InitContainers[0].Name = e.needed("init", inject.ContainerName)
	pod.Spec.Volumes[0].Name = inject.VolumeName
	pod.Spec.InitContainers[0].VolumeMounts[0] = corev1.VolumeMount{Name: inject.VolumeName, MountPath: e.text}
	pod.Spec.Containers[0].Name = e.needed("compute", "compute")
	pod.Spec.Containers[0].Command = []string{"--hypervisor", e.text}
	pod.Status.Phase = corev1.PodPhase(e.needed("phase", "Running"))
	pod.Status.InitContainerStatuses[0].Name = inject.ContainerName
	pod.Status.InitContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	pod.Status.Conditions[0] = corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue}
	change(pod)
	return *pod
}

// vmi has every field that is read.
func (e hostileServer) vmi() map[string]any {
	condition := func(kind, status string) any {
		return map[string]any{"type": kind, "status": status, "reason": e.text, "message": e.text}
	}
	return map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
		"metadata": map[string]any{
			"namespace": e.text, "name": e.text, "uid": e.text, "labels": map[string]any{e.text: e.text, "kubevirt.io/outdatedLauncherImage": e.text},
			"ownerReferences": []any{map[string]any{"apiVersion": "kubevirt.io/v1", "kind": e.needed("owner", "VirtualMachine"), "name": e.text, "uid": e.text, "controller": true}},
		},
		"spec": map[string]any{"architecture": e.text},
		"status": map[string]any{
			"phase": e.needed("phase", "Running"), "nodeName": e.text, "machine": map[string]any{"type": e.text},
			"activePods": map[string]any{e.text: e.text}, "guestOSInfo": map[string]any{"name": "Microsoft Windows" + e.text},
			"conditions": []any{condition(e.text, e.text), condition("LiveMigratable", "False"), condition("Paused", "True"), condition("PodScheduled", "False")},
		},
	}
}

func (e hostileServer) prometheus() map[string]any {
	selector := map[string]any{"matchLabels": map[string]any{e.text: e.text}}
	return map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": map[string]any{"namespace": e.text, "name": e.text},
		"spec": map[string]any{"podMonitorSelector": selector, "podMonitorNamespaceSelector": selector},
	}
}

func (e hostileServer) namespace() *corev1.Namespace {
	namespace := filled[corev1.Namespace](e.text)
	namespace.Labels[inject.AnnotationInject] = e.needed("enabled", "enabled")
	return namespace
}

// answer returns the API server's answer to a request; nil for port-forward and exec.
func (e hostileServer) answer(r *http.Request) any {
	path, selector := r.URL.Path, r.URL.Query().Get("labelSelector")
	list := func(kind string, items ...any) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": kind, "metadata": map[string]any{}, "items": items}
	}
	none := func(*corev1.Pod) {}
	switch {
	case path == "/version":
		return map[string]any{"gitVersion": e.text}
	case strings.HasSuffix(path, "/selfsubjectaccessreviews"):
		return filled[authorizationv1.SelfSubjectAccessReview](e.text)
	case strings.HasSuffix(path, "/token"):
		return filled[authenticationv1.TokenRequest](e.text)
	case strings.HasSuffix(path, "/virtualmachineinstances"):
		return list("VirtualMachineInstanceList", e.vmi())
	case strings.Contains(path, "/virtualmachineinstances/"):
		return e.vmi()
	case strings.HasSuffix(path, "/kubevirts"):
		return list("KubeVirtList", map[string]any{"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": map[string]any{"name": e.text}, "status": map[string]any{
			"phase": e.needed("deployed", "Deployed"), "observedKubeVirtVersion": e.text,
		}})
	case strings.HasSuffix(path, "/prometheuses"):
		return list("PrometheusList", e.prometheus())
	case strings.Contains(path, "/podmonitors/"):
		return map[string]any{"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": map[string]any{"name": e.text, "labels": map[string]any{e.text: e.text}},
			"spec": map[string]any{"podMetricsEndpoints": []any{map[string]any{"scheme": e.needed("scheme", "https"), "tlsConfig": map[string]any{
				"serverName": e.text, "ca": map[string]any{"configMap": map[string]any{"name": e.text, "key": e.text}},
			}}}}}
	case strings.Contains(path, "/configmaps/"):
		return filled[corev1.ConfigMap](e.text)
	case strings.HasSuffix(path, "/pods") && r.Method == http.MethodPost:
		return e.pod(none)
	case strings.HasSuffix(path, "/pods") && selector == "kubevirt.io=virt-launcher":
		pods := []any{}
		for _, change := range e.launchers {
			pods = append(pods, e.pod(change))
		}
		return list("PodList", pods...)
	case strings.HasSuffix(path, "/pods"):
		return list("PodList", e.pod(func(pod *corev1.Pod) { pod.Spec.Containers[0].Ports[0].Name = "metrics" }))
	case strings.HasSuffix(path, "/namespaces"):
		return list("NamespaceList", e.namespace())
	case strings.Contains(path, "/nodes/"):
		node := filled[corev1.Node](e.text)
		node.Status.Allocatable["devices.kubevirt.io/kvm"] = resource.MustParse("1")
		node.Labels["kubevirt.io/schedulable"] = e.needed("capacity", e.text)
		return node
	case strings.HasSuffix(path, "/limitranges"):
		limits := filled[corev1.LimitRange](e.text)
		limits.Spec.Limits[0] = corev1.LimitRangeItem{Type: corev1.LimitTypeContainer, Min: corev1.ResourceList{corev1.ResourceName(e.text): resource.MustParse("1")}}
		return list("LimitRangeList", limits)
	case strings.HasSuffix(path, "/resourcequotas"):
		quota := filled[corev1.ResourceQuota](e.text)
		quota.Spec.ScopeSelector, quota.Spec.Scopes = nil, nil
		quota.Status.Hard = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1")}
		return list("ResourceQuotaList", quota)
	case strings.HasSuffix(path, "/events"):
		event := filled[corev1.Event](e.text)
		event.Reason, event.InvolvedObject.Kind = "FailedCreate", contract.VMIKind
		event.Message = "Error creating pod: " + e.text + " is forbidden: " + e.text
		event.LastTimestamp = metav1.Now()
		return list("EventList", event)
	case strings.Contains(path, "/daemonsets/"):
		set := filled[appsv1.DaemonSet](e.text)
		set.Status.DesiredNumberScheduled = 2
		return set
	case strings.Contains(path, "/deployments/"):
		deployment := filled[appsv1.Deployment](e.text)
		container := &deployment.Spec.Template.Spec.Containers[0]
		container.Name = e.needed("webhook", "webhook")
		container.Args = []string{"--sidecar-image=" + e.text, "--exposure=" + e.text}
		return deployment
	case strings.Contains(path, "/mutatingwebhookconfigurations/"):
		return filled[admissionv1.MutatingWebhookConfiguration](e.text)
	case strings.Contains(path, "/mutatingadmissionpolicies/"):
		return filled[admissionv1.MutatingAdmissionPolicy](e.text)
	case strings.Contains(path, "/mutatingadmissionpolicybindings/"):
		return filled[admissionv1.MutatingAdmissionPolicyBinding](e.text)
	case strings.HasSuffix(path, "/endpointslices"):
		return list("EndpointSliceList", filled[discoveryv1.EndpointSlice](e.text))
	case strings.Contains(path, "/namespaces/") && strings.Count(path, "/") == 4:
		return e.namespace()
	default:
		return nil
	}
}

// query returns Prometheus' answer.
func (e hostileServer) query(r *http.Request) any {
	labels := map[string]string{}
	for _, name := range []string{
		"namespace", "pod", "name", "node", "domain_type", "arch", "machine", "hypervisor_version", "libvirt_version", "other",
		"host_arch", "cpu_model", "launch_security", "memory", "nics", "virtualization", "hardware_paging", "nested",
	} {
		labels[name] = e.text
	}
	labels["hypervisor_type"] = e.needed("type", "kvm")
	for name, value := range map[string]string{"state": "paused", "reason": "ioerror", "control_state": "error", "hyperv": "none", "disks": "emulated"} {
		labels[name] = e.needed("facts", value)
	}
	return map[string]any{"status": "success", "data": map[string]any{
		"resultType": "vector", "result": []any{map[string]any{"metric": labels, "value": []any{1, "1"}}},
	}}
}

func (e hostileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	var body any
	switch {
	case e.broken != nil && e.broken.MatchString(r.URL.Path):
		w.WriteHeader(e.status)
		body = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(e.status),
			Reason: map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound}[e.status], Details: &metav1.StatusDetails{Name: e.text},
			Message: fmt.Sprintf(`User "x" cannot get resource "%[1]s" in API group "%[1]s" in the namespace "%[1]s"`, e.text)}
	case strings.HasSuffix(r.URL.Path, "/query"):
		body = e.query(r)
	case strings.HasSuffix(r.URL.Path, "/log"):
		_, _ = fmt.Fprintf(w, "not ready --kubelet-pods-dir=%s is not where \n%s", e.text, e.text)
		return
	case strings.Contains(r.URL.Path, "/proxy/"):
		_, _ = fmt.Fprintf(w, "# TYPE a gauge\na{b=%q} 1\n%s", e.text, e.text)
		return
	default:
		if body = e.answer(r); body == nil {
			http.Error(w, e.text, http.StatusBadRequest)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(body)
}

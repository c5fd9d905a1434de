package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// honest is a sidecar's page about the VM "masq"; another owner's pod adds what it likes.
const honest = `# TYPE kubevirt_vmi_hypervisor_info gauge
kubevirt_vmi_hypervisor_info{namespace="%[1]s",name="masq",node="node-1",hypervisor_type="kvm"} 1
`

func honestPage(namespace string) string { return fmt.Sprintf(honest, namespace) }

const forged = `# TYPE kubevirt_vmi_hypervisor_info gauge
kubevirt_vmi_hypervisor_info{namespace="victim",name="other",node="elsewhere",pod="its-pod",job="its-job",instance="its-instance",container="its-container",endpoint="its-endpoint",hypervisor_type="kvm"} 1
kubevirt_vmi_hypervisor_info{exported_namespace="victim",exported_exported_namespace="victim",namespace="victim",name="other",hypervisor_type="qemu-tcg"} 1
kubevirt_vmi_hypervisor_info{hypervisor_type="unknown",cluster="prod-b",replica="b"} 1 1000000000000
kubevirt_vmi_hypervisor_info{hypervisor_type="call 555-0100"} 1
hypervisor_exporter_last_change_timestamp_seconds{hypervisor_type="a"} 1
hypervisor_exporter_last_change_timestamp_seconds{hypervisor_type="b"} 2
go_goroutines 1
ALERTS{alertname="Forged",namespace="victim"} 1
up{namespace="victim"} 0
`

// The VMs' PodMonitor without the relay, made into a configuration by the operator itself, in a real Prometheus that
// discovers pods in the real API server: the API server alone decides whose VM a series is about.
func TestPodMonitorBelievesTheAPIServer(t *testing.T) {
	port, namespace := freePort(t), server.Namespace(t, "vms", nil)
	serveAt(t, "127.0.0.1", port, page(honestPage(namespace)+forged))
	pod := createTarget(t, targetPod(t, namespace, port), "127.0.0.1", "192.0.2.1").GetName()
	p := startPrometheus(t, discoverPods(t, operatorConfig(t, "overlays/direct")))

	var series []map[string]string
	eventually(t, func() bool {
		series = p.query("kubevirt_vmi_hypervisor_info")
		return len(series) == 3
	}, "there are three types, so three series")
	for _, labels := range series {
		kind := labels["hypervisor_type"]
		require.Contains(t, []string{"kvm", "qemu-tcg", "unknown"}, kind)
		require.Equal(t, map[string]string{
			"__name__":        "kubevirt_vmi_hypervisor_info",
			"hypervisor_type": kind,
			"namespace":       namespace,
			"name":            "masq",
			"node":            "node-1",
			"pod":             pod,
			"container":       "hypervisor-exporter",
			"endpoint":        "hv-metrics",
			"job":             "hypervisor-exporter/hypervisor-exporter-vms",
			"instance":        fmt.Sprintf("127.0.0.1:%d", port),
		}, labels)
	}
	require.Empty(t, p.query(`{namespace="victim"}`))
	require.Empty(t, p.query(`{name="other"}`))
	require.Empty(t, p.query(`{cluster!=""}`), "or it would win over Prometheus' external labels")
	require.Empty(t, p.query("hypervisor_exporter_last_change_timestamp_seconds"), "the metric has no label of its own")
	require.Empty(t, p.query(`{__name__=~"ALERTS|go_.+"}`), "no series under a name that is not ours")
	require.Empty(t, p.query("up == 0"))
}

// What a VM's owner writes into its template changes neither the name of its VM nor whether it is found: the annotation
// that KubeVirt uses for the name, a label that Prometheus cannot tell from KubeVirt's, and an annotation as long as
// Kubernetes allows.
func TestPodMonitorNamesTheController(t *testing.T) {
	port, namespace := freePort(t), server.Namespace(t, "renamed", nil)
	want := map[string]string{} // the VM by its pod
	for i, domain := range []string{"web", "My VM", strings.Repeat("x", 250_000), ""} {
		address := fmt.Sprintf("127.0.1.%d", i+2)
		serveAt(t, address, port, page(honestPage(namespace)))
		pod := targetPod(t, namespace, port)
		vm := fmt.Sprintf("mine-%d", i)
		setController(pod, vm)
		setAnnotation(pod, "kubevirt.io/domain", domain)
		setLabel(pod, "kubevirt-io", "x")
		want[createTarget(t, pod, address, "192.0.2.1").GetName()] = vm
	}
	p := startPrometheus(t, discoverPods(t, operatorConfig(t, "overlays/direct")))
	var series []map[string]string
	eventually(t, func() bool {
		series = p.query(fmt.Sprintf("kubevirt_vmi_hypervisor_info{namespace=%q}", namespace))
		return len(series) == len(want)
	})
	for _, labels := range series {
		require.Equal(t, want[labels["pod"]], labels["name"])
	}
	require.Len(t, p.query(fmt.Sprintf("up{namespace=%q} == 1", namespace)), len(want))
}

// setController names the VMI in the pod's controller reference.
func setController(pod *unstructured.Unstructured, vm string) {
	references := pod.GetOwnerReferences()
	references[0].Name = vm
	pod.SetOwnerReferences(references)
}

// Pods that KubeVirt did not make, or that try to harm Prometheus, give no series.
func TestPodMonitorRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*unstructured.Unstructured)
		answer http.HandlerFunc
		why    string // the target's error in Prometheus; empty where there must be no target
	}{
		{name: "a pod that belongs to no VMI", answer: page(forged), change: func(pod *unstructured.Unstructured) {
			pod.SetOwnerReferences(nil)
		}},
		{name: "a reference to what cannot be a VMI's name", answer: page(forged), change: func(pod *unstructured.Unstructured) {
			setController(pod, "My VM")
		}},
		{name: "a reference of 250 kB", answer: page(forged), change: func(pod *unstructured.Unstructured) {
			setController(pod, strings.Repeat("x", 250_000))
		}},
		{name: "more samples than a VM has", answer: page(manySamples(300)), why: "sample limit exceeded"},
		{name: "a large page", answer: page("# " + strings.Repeat("x", 300_000) + "\n"), why: "body size limit exceeded"},
		{name: "a redirect", answer: http.RedirectHandler("http://127.0.0.1/", http.StatusFound).ServeHTTP, why: "302 Found"},
	}
	port, namespace := freePort(t), server.Namespace(t, "hostile", nil)
	why := map[string]string{} // by instance
	for i, test := range tests {
		address := fmt.Sprintf("127.0.0.%d", i+2)
		serveAt(t, address, port, test.answer)
		pod := targetPod(t, namespace, port)
		if test.change != nil {
			test.change(pod)
		}
		createTarget(t, pod, address, "192.0.2.1")
		if test.why != "" {
			why[fmt.Sprintf("%s:%d", address, port)] = test.why
		}
	}

	p := startPrometheus(t, discoverPods(t, operatorConfig(t, "overlays/direct")))
	var seen []target
	eventually(t, func() bool {
		seen = slices.DeleteFunc(p.targets(), func(one target) bool { return one.Labels["namespace"] != namespace })
		return len(seen) > 0 && !slices.ContainsFunc(seen, func(one target) bool { return one.Health == "unknown" })
	}, "each was scraped")
	require.Len(t, seen, len(why))
	for _, one := range seen {
		instance := one.Labels["instance"]
		require.Contains(t, why, instance)
		require.Equal(t, "down", one.Health, "%s", why[instance])
		require.Contains(t, one.LastError, why[instance])
	}
	require.Empty(t, p.query(fmt.Sprintf(`{namespace=%q,__name__!~"up|scrape_.*"}`, namespace)))
}

// targetPod is the VM "masq" as it is when it was injected, with its metrics at that port.
func targetPod(t *testing.T, namespace string, port int) *unstructured.Unstructured {
	t.Helper()
	pod := launcher(t, namespace, "masq")
	addSidecar(t, pod)
	require.NoError(t, unstructured.SetNestedField(pod.Object, "node-1", "spec", "nodeName"))
	containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	require.NoError(t, err)
	containers[len(containers)-1].(map[string]any)["ports"] = []any{map[string]any{"name": "hv-metrics", "containerPort": int64(port)}}
	require.NoError(t, unstructured.SetNestedSlice(pod.Object, containers, "spec", "initContainers"))
	return pod
}

// createTarget creates the pod and reports, as its kubelet would, that it runs, and its and its node's address.
func createTarget(t *testing.T, pod *unstructured.Unstructured, address, node string) *unstructured.Unstructured {
	t.Helper()
	stored, err := server.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"phase": "Running", "podIP": address, "podIPs": []any{map[string]any{"ip": address}},
		"hostIP": node, "hostIPs": []any{map[string]any{"ip": node}},
	}})
	require.NoError(t, err)
	pods := server.Client.CoreV1().Pods(stored.GetNamespace())
	_, err = pods.Patch(t.Context(), stored.GetName(), types.MergePatchType, status, metav1.PatchOptions{}, "status")
	require.NoError(t, err)
	t.Cleanup(func() { // a target of this test must not be one of the next
		now := int64(0)
		_ = pods.Delete(context.Background(), stored.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now})
	})
	return stored
}

// serveAt serves HTTP at the address and port.
func serveAt(t *testing.T, address string, port int, handler http.HandlerFunc) {
	t.Helper()
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
	require.NoError(t, err)
	web := httptest.NewUnstartedServer(handler)
	require.NoError(t, web.Listener.Close())
	web.Listener = listener
	web.Start()
	t.Cleanup(web.Close)
}

func page(content string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, content)
	}
}

func manySamples(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "kubevirt_vmi_hypervisor_domain_info{machine=\"%d\"} 1\n", i)
	}
	return text.String()
}

package clustertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// honest is what a sidecar says of the VM "masq", to which somebody else's pod adds what it likes.
const honest = `# TYPE kubevirt_vmi_hypervisor_info gauge
kubevirt_vmi_hypervisor_info{namespace="%[1]s",name="masq",node="node-1",hypervisor_type="kvm"} 1
`

const forged = `# TYPE kubevirt_vmi_hypervisor_info gauge
kubevirt_vmi_hypervisor_info{namespace="victim",name="other",node="elsewhere",pod="its-pod",job="its-job",instance="its-instance",container="its-container",endpoint="its-endpoint",hypervisor_type="kvm"} 1
kubevirt_vmi_hypervisor_info{exported_namespace="victim",exported_exported_namespace="victim",namespace="victim",name="other",hypervisor_type="qemu-tcg"} 1
kubevirt_vmi_hypervisor_info{hypervisor_type="unknown"} 1 1000000000000
ALERTS{alertname="Forged",namespace="victim"} 1
up{namespace="victim"} 0
`

// The VMs' PodMonitor, made into a configuration by the operator itself, in a real Prometheus that discovers pods in
// the real API server: whose VM it is, is what the API server says.
func TestPodMonitorBelievesTheAPIServer(t *testing.T) {
	// Targets share their port, since it is the pod's, and differ in their address.
	port := freePort(t)
	serveMetrics(t, "127.0.0.1", port, func(namespace string) string { return fmt.Sprintf(honest, namespace) + forged })
	namespace := server.Namespace(t, "vms", nil)
	podName := createTarget(t, namespace, port, "127.0.0.1", nil)
	p := startPrometheus(t, prometheusConfig(t))

	var series []map[string]string
	require.Eventually(t, func() bool {
		series = p.query("kubevirt_vmi_hypervisor_info")
		return len(series) == 3
	}, 30*time.Second, 200*time.Millisecond, "three types are told, so three series")
	for _, labels := range series {
		kind := labels["hypervisor_type"]
		require.Contains(t, []string{"kvm", "qemu-tcg", "unknown"}, kind)
		require.Equal(t, map[string]string{
			"__name__":        "kubevirt_vmi_hypervisor_info",
			"hypervisor_type": kind,
			"namespace":       namespace,
			"name":            "masq",
			"node":            "node-1",
			"pod":             podName,
			"container":       "hypervisor-exporter",
			"endpoint":        "hv-metrics",
			"job":             "hypervisor-exporter/hypervisor-exporter-vms",
			"instance":        fmt.Sprintf("127.0.0.1:%d", port),
		}, labels)
	}
	require.Empty(t, p.query(`{namespace="victim"}`))
	require.Empty(t, p.query(`{name="other"}`))
	require.Empty(t, p.query("ALERTS"), "no series under a name that is not ours")
	require.Empty(t, p.query("up == 0"))
}

// Pods that KubeVirt did not make, or that try to harm Prometheus, give no series.
func TestPodMonitorRefuses(t *testing.T) {
	port := freePort(t)
	tests := []struct {
		name, address string
		change        func(*unstructured.Unstructured)
		page          string
		scraped       string // what Prometheus says of the target; empty where it must not be one
	}{
		{name: "a pod that belongs to no VMI", address: "127.0.0.2", page: forged, change: func(pod *unstructured.Unstructured) {
			pod.SetOwnerReferences(nil)
		}},
		{name: "a pod without a VM's name", address: "127.0.0.3", page: forged, change: func(pod *unstructured.Unstructured) {
			pod.SetAnnotations(nil)
		}},
		{name: "a pod that is no launcher", address: "127.0.0.4", page: forged, change: func(pod *unstructured.Unstructured) {
			setLabel(pod, "kubevirt.io", "hotplug-disk")
		}},
		{name: "more samples than a VM has", address: "127.0.0.5", page: manySamples(300), scraped: "sample limit exceeded"},
		{name: "more labels than we have", address: "127.0.0.6", page: manyLabels(40), scraped: "label_limit exceeded"},
		{name: "a long label value", address: "127.0.0.7", page: "kubevirt_vmi_hypervisor_info{a=\"" + strings.Repeat("x", 600) + "\"} 1\n",
			scraped: "label_value_length_limit exceeded"},
		{name: "a large page", address: "127.0.0.8", page: "# " + strings.Repeat("x", 300_000) + "\n", scraped: "body size limit exceeded"},
	}
	namespace := server.Namespace(t, "hostile", nil)
	expected := map[string]string{}
	for _, test := range tests {
		serveMetrics(t, test.address, port, func(string) string { return test.page })
		createTarget(t, namespace, port, test.address, test.change)
		if test.scraped != "" {
			expected[fmt.Sprintf("%s:%d", test.address, port)] = test.scraped
		}
	}
	t.Run("a redirect", func(t *testing.T) { requireRedirectNotFollowed(t, namespace, port) })

	p := startPrometheus(t, prometheusConfig(t))
	var seen []target
	require.Eventually(t, func() bool {
		seen = p.targets(t)
		failed := 0
		for _, target := range seen {
			if target.Labels["namespace"] == namespace && target.Health == "down" {
				failed++
			}
		}
		return failed == len(expected)
	}, 30*time.Second, 200*time.Millisecond)
	for _, target := range seen {
		if target.Labels["namespace"] != namespace {
			continue
		}
		instance := target.Labels["instance"]
		require.Contains(t, expected, instance, "not one of ours")
		require.Contains(t, target.LastError, expected[instance])
	}
	require.Empty(t, p.query(fmt.Sprintf(`{namespace=%q,__name__!~"up|scrape_.*"}`, namespace)))
}

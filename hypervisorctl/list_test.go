package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/listing"
)

// shop is a namespace with one VM of each kind of trouble.
func shop(t *testing.T) string {
	t.Helper()
	define(t)
	namespace := server.Namespace(t, "shop", labelled())
	for _, m := range []machine{
		{name: "web", fixture: "masq"},
		{name: "emulated", fixture: "guest-tcg"},
		{name: "missed", fixture: "masq", without: true},
		{name: "opted-out", fixture: "opted-out"},
		{name: "best-effort", fixture: "best-effort"},
		{name: "pulling", fixture: "masq", waiting: "ImagePullBackOff"},
		{name: "starting", fixture: "masq", phase: "Scheduling", waiting: "PodInitializing"},
	} {
		m.namespace, m.node = namespace, "node-1"
		m.create(t)
	}
	return namespace
}

// prometheus has the series of the shop's VMs in the namespace.
func prometheus(t *testing.T, namespace string) string {
	t.Helper()
	return prometheusOf(t, namespace, []map[string]string{
		{"name": "web", "pod": "virt-launcher-web-x", "hypervisor_type": "kvm"},
		{"name": "emulated", "pod": "virt-launcher-emulated-x", "hypervisor_type": "qemu-tcg"},
		{"name": "web", "pod": "virt-launcher-web-x", "domain_type": "kvm", "arch": "x86_64", "machine": "pc-q35-7.2", "hypervisor_version": "7.2.22", "libvirt_version": "9.0.0"},
		{"name": "emulated", "pod": "virt-launcher-emulated-x", "domain_type": "qemu", "arch": "x86_64", "machine": "pc-q35-7.2", "libvirt_version": "9.0.0"},
	})
}

// prometheusOf answers queries for the product's two metrics as Prometheus does; those with a hypervisor_type are the first.
func prometheusOf(t *testing.T, namespace string, series []map[string]string) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := []any{}
		for _, one := range series {
			labels := maps.Clone(one)
			labels["namespace"], labels["node"] = namespace, "node-1"
			if strings.HasPrefix(r.FormValue("query"), "kubevirt_vmi_hypervisor_info") == (labels["hypervisor_type"] != "") {
				result = append(result, map[string]any{"metric": labels, "value": []any{1, "1"}})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// same takes away what differs from run to run, with the columns that it shifts.
func same(text, namespace string) string {
	text = strings.ReplaceAll(text, namespace, "shop")
	text = regexp.MustCompile(`created: "[^"]*"`).ReplaceAllString(text, `created: "2026-01-01T00:00:00Z"`)
	text = regexp.MustCompile(`"created": "[^"]*"`).ReplaceAllString(text, `"created": "2026-01-01T00:00:00Z"`)
	text = regexp.MustCompile(` (\d+m)?\d+s\n`).ReplaceAllString(text, " 5s\n")
	return regexp.MustCompile(` (\d+m)?\d+s +`).ReplaceAllString(text, " 5s    ")
}

func TestListFromPrometheus(t *testing.T) {
	namespace := shop(t)
	address := prometheus(t, namespace)
	for _, output := range []string{"table", "wide", "json", "yaml"} {
		t.Run(output, func(t *testing.T) {
			got := call(t, administrator(t), "list", "-n", namespace, "--prometheus-url="+address, "-o", output)
			require.Zero(t, got.code, got.err)
			golden(t, "list-"+output+".txt", same(got.out, namespace))
		})
	}
	t.Run("selector", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-A", "-l", "vm=web", "--source=none", "--no-headers")
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, namespace)
		require.NotContains(t, got.out, "emulated")
	})
	t.Run("nothing there", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-n", "default", "--source=none")
		require.Equal(t, answer{err: "No VMs in the namespace default.\n"}, got)
	})
}

func TestListRefusesNonsense(t *testing.T) {
	for args, want := range map[string]string{
		"-o nonsense":                "want one of table, wide, json, yaml",
		"--source=nonsense":          "want auto, prometheus, relay, exec or none",
		"--source=prometheus":        "--prometheus-url",
		"--chunk-size=0":             "want 1 or more",
		"--prometheus-url=:nonsense": "--prometheus-url :nonsense",
		"-l =":                       "",
	} {
		got := call(t, administrator(t), append([]string{"list"}, strings.Fields(args)...)...)
		require.Equal(t, 1, got.code, "%s: %s", args, got.err)
		require.Contains(t, got.err, want, args)
	}
}

// A list of many is asked for in pages, and what is kept of each VMI is small.
func TestListInPages(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "many", nil)
	const many = 2000
	padding := strings.Repeat("x", 8<<10) // 16 MiB in all: more than may be held
	for i := range many {
		vmi := machine{namespace: namespace, name: fmt.Sprintf("vm-%04d", i), node: "node-1"}.object()
		vmi.SetAnnotations(map[string]string{"padding": padding})
		_, err := server.Create(t.Context(), vmi, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	pages, largest := 0, 0
	var first, most uint64
	counting := proxy(t, func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/virtualmachineinstances") {
			pages++
			var limit int
			_, err := fmt.Sscan(r.URL.Query().Get("limit"), &limit)
			require.NoError(t, err)
			largest = max(largest, limit)
			held := heap()
			if pages == 1 {
				first = held
			}
			most = max(most, held)
		}
	})
	got := call(t, kubeconfig(t, counting, ""), "list", "-n", namespace, "--source=none", "--chunk-size=100", "-o", "json")
	require.Zero(t, got.code, got.err)
	var list listing.List
	require.NoError(t, json.Unmarshal([]byte(got.out), &list))
	require.Len(t, list.Items, many)
	require.Equal(t, 20, pages)
	require.Equal(t, 100, largest)
	require.Less(t, most, first+8<<20, "pages that are read are let go")
}

// heap is what lives.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// proxy is a way to the API server on which requests are seen.
func proxy(t *testing.T, see func(*http.Request)) *rest.Config {
	t.Helper()
	transport, err := rest.TransportFor(server.Config)
	require.NoError(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		forward(w, r, transport)
	}))
	t.Cleanup(web.Close)
	config := rest.AnonymousClientConfig(server.Config)
	config.Host, config.CAData = web.URL, nil
	return config
}

func TestListWithoutACluster(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := &rest.Config{Host: "http://" + listener.Addr().String()}
	require.NoError(t, listener.Close())
	for _, command := range [][]string{{"list"}, {"explain", "web"}, {"check"}} {
		got := call(t, kubeconfig(t, nobody, "x"), command...)
		require.Contains(t, got.out+got.err, "connection refused", command)
		require.NotContains(t, got.err, "note:", command)
		if command[0] == "check" {
			require.Equal(t, 2, got.code)
			require.Contains(t, got.out, "0 ok, 0 warn, 1 fail")
		} else {
			require.Equal(t, 1, got.code)
		}
	}
	got := call(t, "/nonexistent", "check")
	require.Equal(t, 2, got.code)
	require.Contains(t, got.err, "error:")
}

func TestListWithAHangingAPIServer(t *testing.T) {
	end := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end); web.Close() })
	for _, command := range [][]string{{"list"}, {"explain", "web"}, {"check"}} {
		begin := time.Now()
		got := call(t, kubeconfig(t, &rest.Config{Host: web.URL}, "x"), append(command, "--request-timeout=300ms")...)
		require.NotZero(t, got.code)
		require.Regexp(t, "(?i)timeout|deadline", got.out+got.err, command)
		require.Less(t, time.Since(begin), 10*time.Second, command)
	}
}

func TestMissingRightsAreNamed(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "nobody", labelled())
	nobody := as("nobody", "system:authenticated")
	for _, command := range [][]string{{"list", "-n", namespace}, {"list", "-A"}, {"explain", "web", "-n", namespace}} {
		got := call(t, administrator(t), append(command, nobody...)...)
		require.Equal(t, 1, got.code)
		require.Empty(t, got.out)
		require.Regexp(t, `you may not (list|get) virtualmachineinstances.*\(try: kubectl auth can-i (list|get) virtualmachineinstances`, got.err)
	}
	// VMIs alone are not enough: without the pods nothing true can be said of sidecars.
	require.NoError(t, grant(t, namespace, "halfway", []string{"kubevirt.io"}, []string{"virtualmachineinstances"}, "get", "list"))
	got := call(t, administrator(t), append([]string{"list", "-n", namespace}, as("halfway", "system:authenticated")...)...)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "you may not list pods in the namespace "+namespace)
}

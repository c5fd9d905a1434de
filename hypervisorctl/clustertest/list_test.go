package clustertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/command"
)

// shop creates a namespace with one VM of each kind of problem.
func shop(t *testing.T) string {
	t.Helper()
	define(t)
	namespace := server.Namespace(t, "shop", labelled())
	for _, m := range []testVM{
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

// same replaces what differs from run to run, with the columns that it shifts.
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
	for output, want := range map[string]string{
		"name": "virtualmachineinstance.kubevirt.io/emulated\nvirtualmachineinstance.kubevirt.io/web\n",
		`jsonpath={range .items[*]}{.name}{"\t"}{.type}{"\n"}{end}`:            "emulated\tqemu-tcg\nweb\tkvm\n",
		`go-template={{range .items}}{{.name}} {{.domainType}}{{"\n"}}{{end}}`: "emulated qemu\nweb kvm\n",
		"custom-columns=VM:.name,Node:{.node},QEMU:hypervisorVersion":          "VM         NODE     QEMU\nemulated   node-1   -\nweb        node-1   7.2.22\n",
		"custom-columns=VM:.name --no-headers --sort-by=.type":                 "web\nemulated\n",
	} {
		t.Run("names, as "+output, func(t *testing.T) {
			args := []string{"list", "web", "vmi/emulated", "-n", namespace, "--prometheus-url=" + address, "-o"}
			if format, flags, found := strings.Cut(output, " --"); found {
				args = append(append(args, format), strings.Fields("--"+flags)...)
			} else {
				args = append(args, output)
			}
			require.Equal(t, answer{out: want}, call(t, administrator(t), args...))
		})
	}
	t.Run("a name that is not there", func(t *testing.T) {
		got := call(t, administrator(t), "list", "web", "strange", "stranger", "-n", namespace, "--source=none", "-o", "name")
		require.Equal(t, answer{
			code: 1, out: "virtualmachineinstance.kubevirt.io/web\n",
			err: `error: there is no VMI "strange", "stranger" in the namespace ` + namespace + "\n",
		}, got)
	})
	t.Run("field selector", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-A", "--field-selector=metadata.name=web,metadata.namespace="+namespace, "--source=none", "-o", "name")
		require.Equal(t, answer{out: "virtualmachineinstance.kubevirt.io/web\n"}, got)
		got = call(t, administrator(t), "list", "-A", "--field-selector=status.phase=Running", "--source=none")
		require.Equal(t, 1, got.code)
		require.Contains(t, got.err, "field label not supported: status.phase")
	})
	t.Run("nothing there", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-n", "default", "--source=none")
		require.Equal(t, answer{err: "No VMs in the namespace default.\n"}, got)
	})
}

// A list of many is asked for in pages, and what is kept of each VMI is small.
func TestListInPages(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "many", nil)
	const many = 600
	padding := strings.Repeat("x", 32<<10) // 19 MiB in all: more than may be held
	for i := range many {
		vmi := testVM{namespace: namespace, name: fmt.Sprintf("vm-%03d", i), node: "node-1"}.object()
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
	got := call(t, kubeconfig(t, counting, ""), "list", "-n", namespace, "--source=none", "--chunk-size=30", "-o", "json")
	require.Zero(t, got.code, got.err)
	var list command.List
	require.NoError(t, json.Unmarshal([]byte(got.out), &list))
	require.Len(t, list.Items, many)
	require.Equal(t, 20, pages)
	require.Equal(t, 30, largest)
	require.Less(t, most, first+8<<20, "pages that were read are freed")
}

// heap returns the size of the live objects.
func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// proxy returns the configuration of a proxy to the API server that sees requests.
func proxy(t *testing.T, see func(*http.Request)) *rest.Config {
	t.Helper()
	target, err := url.Parse(server.Config.Host)
	require.NoError(t, err)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport, err = rest.TransportFor(server.Config)
	require.NoError(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		see(r)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	config := rest.AnonymousClientConfig(server.Config)
	config.Host, config.CAData = web.URL, nil
	return config
}

func TestMissingRightsAreNamed(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "rights", labelled())
	stranger := as("stranger", "system:authenticated")
	for _, command := range [][]string{{"list", "-n", namespace}, {"list", "-A"}, {"explain", "web", "-n", namespace}} {
		got := call(t, administrator(t), append(command, stranger...)...)
		require.Equal(t, 1, got.code)
		require.Empty(t, got.out)
		require.Regexp(t, `you may not (list|get) virtualmachineinstances.*\(try: kubectl auth can-i (list|get) virtualmachineinstances`, got.err)
	}
	// VMIs alone are not enough: only the pods show the sidecars.
	require.NoError(t, grant(t, namespace, "halfway", []string{"kubevirt.io"}, []string{"virtualmachineinstances"}, "get", "list"))
	got := callAs(t, as("halfway", "system:authenticated"), "list", "-n", namespace)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "you may not list pods in the namespace "+namespace)
}

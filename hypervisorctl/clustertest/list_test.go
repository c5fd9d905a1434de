package clustertest

import (
	"cmp"
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
		{name: "missed-bare", fixture: "masq", without: true, bare: true},
		{name: "missed-fixed", fixture: "masq", without: true, stays: true},
		{name: "failed", fixture: "masq", guestOS: "Fedora Linux"},
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
	domain := func(name, kind string, more ...string) map[string]string {
		labels := map[string]string{
			"__name__": "kubevirt_vmi_hypervisor_domain_info", "name": name, "domain_type": kind, "arch": "x86_64", "host_arch": "x86_64", "machine": "pc-q35-9.2",
			"hypervisor_version": "9.2.0", "libvirt_version": "11.0.0", "cpu_model": "Skylake-Server-IBRS", "hyperv": "none", "launch_security": "none",
			"memory": "normal", "disks": "virtio", "nics": "virtio",
		}
		for i := 0; i < len(more); i += 2 {
			labels[more[i]] = more[i+1]
		}
		return labels
	}
	info := func(name, kind string) map[string]string {
		return map[string]string{"__name__": "kubevirt_vmi_hypervisor_info", "name": name, "hypervisor_type": kind}
	}
	state := func(name, state, reason string) map[string]string {
		return map[string]string{"__name__": "kubevirt_vmi_hypervisor_state_info", "name": name, "state": state, "reason": reason}
	}
	control := func(name string) map[string]string {
		return map[string]string{"__name__": "kubevirt_vmi_hypervisor_control_state_seconds", "name": name, "control_state": "ok", "value": "0"}
	}
	return prometheusOf(t, namespace, []map[string]string{
		info("web", "kvm"), domain("web", "kvm"), state("web", "running", "booted"), control("web"),
		info("failed", "kvm"), domain("failed", "kvm", "nics", "emulated"), state("failed", "paused", "ioerror"), control("failed"),
		info("emulated", "qemu-tcg"), domain("emulated", "qemu", "cpu_model", "max"), state("emulated", "running", "booted"), control("emulated"),
		{"__name__": "kubevirt_node_virtualization_info", "virtualization": "none", "hardware_paging": "on", "nested": "off"},
	})
}

// prometheusOf answers queries for the product's metrics as Prometheus does. All series are of the namespace and of node-1, and
// of the pod that create makes for the name.
func prometheusOf(t *testing.T, namespace string, series []map[string]string) string {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := []any{}
		asked, _, _ := strings.Cut(r.FormValue("query"), "{")
		for _, one := range series {
			if one["__name__"] != asked {
				continue
			}
			labels := maps.Clone(one)
			labels["namespace"], labels["node"], labels["pod"] = namespace, "node-1", "virt-launcher-"+one["name"]+"-x"
			result = append(result, map[string]any{"metric": labels, "value": []any{1, cmp.Or(labels["value"], "1")}})
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
	t.Run("problems", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-n", namespace, "--prometheus-url="+address, "--problems")
		require.Zero(t, got.code, got.err)
		golden(t, "list-problems.txt", same(got.out, namespace))
		require.Contains(t, got.err, "note: nothing is reported about 6 running VMs: list without --problems shows why")
	})
	t.Run("no problem", func(t *testing.T) {
		got := call(t, administrator(t), "list", "-n", namespace, "-l", "vm=web", "--prometheus-url="+address, "--problems")
		require.Equal(t, answer{err: "No VMs with a known problem in the namespace " + namespace + ".\n"}, got)
	})
	for output, want := range map[string]string{
		"name": "virtualmachineinstance.kubevirt.io/emulated\nvirtualmachineinstance.kubevirt.io/web\n",
		`jsonpath={range .items[*]}{.name}{"\t"}{.type}{"\n"}{end}`:            "emulated\tqemu-tcg\nweb\tkvm\n",
		`go-template={{range .items}}{{.name}} {{.domainType}}{{"\n"}}{{end}}`: "emulated qemu\nweb kvm\n",
		"custom-columns=VM:.name,Node:{.node},QEMU:hypervisorVersion":          "VM         NODE     QEMU\nemulated   node-1   9.2.0\nweb        node-1   9.2.0\n",
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

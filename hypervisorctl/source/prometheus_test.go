package source

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// A series belongs to the VM by its target labels alone, whatever the page contains.
func TestPrometheusSelectsByTargetLabels(t *testing.T) {
	info := func(pod, name, kind string, more ...string) map[string]string {
		series := map[string]string{"namespace": "shop", "pod": pod, "name": name, "node": "node-1", "hypervisor_type": kind}
		for i := 0; i+1 < len(more); i += 2 {
			series[more[i]] = more[i+1]
		}
		return series
	}
	domain := func(pod, kind string, more ...string) map[string]string {
		series := info(pod, "web", "", append([]string{"domain_type", kind}, more...)...)
		delete(series, "hypervisor_type")
		return series
	}
	tests := map[string]struct {
		infos, domains []map[string]string
		want           Finding
		err            string
	}{
		"its own":                      {[]map[string]string{info("launcher", "web", "kvm")}, []map[string]string{domain("launcher", "kvm")}, Finding{Type: "kvm", DomainType: "kvm"}, ""},
		"without a domain":             {[]map[string]string{info("launcher", "web", "unknown")}, nil, Finding{Type: "unknown"}, ""},
		"none":                         {nil, nil, Finding{}, "no series of the VMI"},
		"its name on another pod":      {[]map[string]string{info("evil", "web", "kvm")}, nil, Finding{}, "no series of the VMI"},
		"its pod under another name":   {[]map[string]string{info("launcher", "db", "kvm")}, nil, Finding{}, "Prometheus calls the VMI of pod launcher db"},
		"its pod in another namespace": {[]map[string]string{info("launcher", "web", "kvm", "namespace", "evil")}, nil, Finding{}, "no series of the VMI"},
		"two replicas that agree":      {[]map[string]string{info("launcher", "web", "kvm", "replica", "a"), info("launcher", "web", "kvm", "replica", "b")}, []map[string]string{domain("launcher", "kvm", "replica", "a"), domain("launcher", "kvm", "replica", "b")}, Finding{Type: "kvm", DomainType: "kvm"}, ""},
		"two types":                    {[]map[string]string{info("launcher", "web", "kvm", "replica", "a"), info("launcher", "web", "qemu-tcg", "replica", "b")}, nil, Finding{}, "with different types"},
		"two domains":                  {[]map[string]string{info("launcher", "web", "kvm")}, []map[string]string{domain("launcher", "kvm"), domain("launcher", "qemu", "x", "y")}, Finding{Type: "kvm"}, ""},
		"an unknown type":              {[]map[string]string{info("launcher", "web", "\x1b[2J")}, nil, Finding{}, `hypervisor_type "\\u001b[2J"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var queries []string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				queries = append(queries, r.FormValue("query"))
				series := test.infos
				if strings.HasPrefix(r.FormValue("query"), domainMetric) {
					series = test.domains
				}
				result := []any{}
				for _, one := range series {
					result = append(result, map[string]any{"metric": one, "value": []any{1, "1"}})
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
			}))
			defer web.Close()
			source, err := NewPrometheus(t.Context(), web.URL, "shop", http.DefaultClient)
			require.NoError(t, err)
			require.Equal(t, []string{
				`kubevirt_vmi_hypervisor_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
				`kubevirt_vmi_hypervisor_domain_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
			}, queries)
			got, err := source.Find(t.Context(), Target{
				VMI:      vm.VMI{Namespace: "shop", Name: "web", Node: "node-1"},
				Launcher: vm.Launcher{Namespace: "shop", Name: "launcher", Node: "node-1"},
			})
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

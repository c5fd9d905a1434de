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
	state := func(reason string, more ...string) map[string]string {
		return domain("launcher", "", append([]string{"state", "paused", "reason", reason}, more...)...)
	}
	stuck := domain("launcher", "", "control_state", "occupied")
	node := func(name, virtualization string) map[string]string {
		return map[string]string{"node": name, "virtualization": virtualization, "hardware_paging": "on", "nested": "off"}
	}
	type series = []map[string]string
	web := series{info("launcher", "web", "kvm")}
	tests := map[string]struct {
		infos, domains, states, controls, nodes series

		want Finding
		err  string
	}{
		"its own":                      {infos: web, domains: series{domain("launcher", "kvm")}, want: Finding{Type: "kvm", DomainType: "kvm"}},
		"without a domain":             {infos: series{info("launcher", "web", "unknown")}, want: Finding{Type: "unknown"}},
		"none":                         {err: "no series of the VMI"},
		"a domain alone":               {domains: series{domain("launcher", "kvm")}, err: "no series of the VMI"},
		"its name on another pod":      {infos: series{info("evil", "web", "kvm")}, err: "no series of the VMI"},
		"its pod under another name":   {infos: series{info("launcher", "db", "kvm")}, err: "Prometheus calls the VMI of pod launcher db"},
		"its pod in another namespace": {infos: series{info("launcher", "web", "kvm", "namespace", "evil")}, err: "no series of the VMI"},
		"two replicas that agree": {infos: series{info("launcher", "web", "kvm", "replica", "a"), info("launcher", "web", "kvm", "replica", "b")},
			domains: series{domain("launcher", "kvm", "replica", "a"), domain("launcher", "kvm", "replica", "b")}, want: Finding{Type: "kvm", DomainType: "kvm"}},
		"two types":       {infos: series{info("launcher", "web", "kvm", "replica", "a"), info("launcher", "web", "qemu-tcg", "replica", "b")}, err: "with different types"},
		"two domains":     {infos: web, domains: series{domain("launcher", "kvm"), domain("launcher", "qemu")}, want: Finding{Type: "kvm"}},
		"an unknown type": {infos: series{info("launcher", "web", "\x1b[2J")}, err: `hypervisor_type "\\u001b[2J"`},
		"a state":         {infos: web, states: series{state("ioerror"), state("ioerror", "replica", "b")}, want: Finding{Type: "kvm", DomainState: "paused", StateReason: "ioerror"}},
		"two states":      {infos: web, states: series{state("ioerror"), state("user")}, want: Finding{Type: "kvm"}},
		"a stuck monitor": {infos: web, controls: series{stuck}, want: Finding{Type: "kvm", ControlState: "occupied", ControlSeconds: 301}},
		"its node":        {infos: web, nodes: series{node("node-2", "kvm"), node("node-1", "none")}, want: Finding{Type: "kvm", Node: Node{"none", "on", "off"}}},
		"two nodes":       {infos: web, nodes: series{node("node-1", "kvm"), node("node-1", "none")}, want: Finding{Type: "kvm"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var queries []string
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				queries = append(queries, r.FormValue("query"))
				asked, _, _ := strings.Cut(r.FormValue("query"), "{")
				series := map[string][]map[string]string{infoMetric: test.infos, domainMetric: test.domains, stateMetric: test.states, controlMetric: test.controls, nodeMetric: test.nodes}
				result := []any{}
				for _, one := range series[asked] {
					result = append(result, map[string]any{"metric": one, "value": []any{1, "301.5"}})
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "vector", "result": result}})
			}))
			defer web.Close()
			source, err := NewPrometheus(t.Context(), web.URL, "shop", http.DefaultClient)
			require.NoError(t, err)
			require.Equal(t, []string{
				`kubevirt_vmi_hypervisor_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
				`kubevirt_vmi_hypervisor_domain_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
				`kubevirt_vmi_hypervisor_state_info{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
				`kubevirt_vmi_hypervisor_control_state_seconds{job="hypervisor-exporter/hypervisor-exporter-vms",namespace="shop"}`,
				`kubevirt_node_virtualization_info{job="hypervisor-exporter-relay/hypervisor-exporter-relay"}`,
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

package scrape

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// A VM is a target at its node's relay, by its uid, with the names that the API server gave it, and no other pod is one. A
// page that could harm Prometheus gives no series. That discovery finds the pods is in e2e.
func TestTargets(t *testing.T) {
	serve := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	good := serve(page(onKVM().lines()))
	claims := serve(strings.ReplaceAll(page(onKVM().lines()), "{", `{cluster="prod-b",target_cluster="=prod-b",`))
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf(`kubevirt_vmi_hypervisor_domain_info{machine="%d"} 1`, i))
	}
	cases := map[string]struct {
		meta     map[string]string // what discovery finds instead
		answer   http.HandlerFunc
		instance string // none is no target
		lastErr  string // none is up
		cluster  string // the target's label
	}{
		"ipv4":            {answer: good, instance: "192.0.2.2:9478"},
		"ipv6":            {meta: map[string]string{"pod_host_ip": "fd00::1"}, answer: good, instance: "[fd00::1]:9478"},
		"of-a-cluster":    {answer: good, instance: "192.0.2.2:9478", cluster: "prod-a"},
		"of-another":      {answer: claims, instance: "192.0.2.2:9478", cluster: "prod-a"},
		"of-none":         {answer: claims, instance: "192.0.2.2:9478"},
		"many-samples":    {answer: serve(page(nil, many...)), instance: "192.0.2.2:9478", lastErr: "sample limit exceeded"},
		"large":           {answer: serve("# " + strings.Repeat("x", 300_000) + "\n"), instance: "192.0.2.2:9478", lastErr: "body size limit exceeded"},
		"redirect":        {answer: http.RedirectHandler("http://127.0.0.1/", http.StatusFound).ServeHTTP, instance: "192.0.2.2:9478", lastErr: "302 Found"},
		"no-controller":   {meta: map[string]string{"pod_controller_kind": "", "pod_controller_name": ""}, answer: good},
		"of-a-job":        {meta: map[string]string{"pod_controller_kind": "Job"}, answer: good},
		"no-vmis-name":    {meta: map[string]string{"pod_controller_name": "My VM"}, answer: good},
		"long-name":       {meta: map[string]string{"pod_controller_name": strings.Repeat("x", 250_000)}, answer: good},
		"other-container": {meta: map[string]string{"pod_container_name": "compute"}, answer: good},
		"other-port":      {meta: map[string]string{"pod_container_port_name": "http"}, answer: good},
		"ended":           {meta: map[string]string{"pod_phase": "Succeeded"}, answer: good},
		"no-node":         {meta: map[string]string{"pod_host_ip": ""}, answer: good},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		cases[strings.TrimPrefix(path.Base(path.Dir(r.URL.Path)), "n.")].answer(w, r)
	}))
	t.Cleanup(server.Close)
	var pods []pod
	for name, c := range cases {
		pods = append(pods, pod{namespace: "n", name: name, node: "node-1", vm: "vm-" + name, meta: c.meta, cluster: c.cluster})
	}
	p := startPrometheus(t, map[string]any{
		"global": map[string]any{"scrape_interval": "1s"}, "scrape_configs": []any{scrapeVMs(t, server.Listener.Addr().String(), pods)},
	}, []byte("groups: []\n"))

	var found map[string]target
	testkit.Eventually(t, func() error { // all jobs' targets appear at once
		found = p.targets(t)
		if len(found) == 0 {
			return errors.New("no target yet")
		}
		for name, target := range found {
			if target.Health == "unknown" {
				return fmt.Errorf("%s was not scraped", name)
			}
		}
		return nil
	})
	for name, c := range cases {
		target, isTarget := found[name]
		require.Equal(t, c.instance != "", isTarget, name)
		require.Equal(t, c.instance, target.Labels["instance"], name)
		require.Contains(t, target.LastError, c.lastErr, name)
		if !isTarget || c.lastErr != "" {
			require.NotEqual(t, "up", target.Health, name)
			continue
		}
		series := p.await(t, fmt.Sprintf("kubevirt_vmi_hypervisor_info{pod=%q}", name), 1)
		want := map[string]string{
			"__name__": "kubevirt_vmi_hypervisor_info", "hypervisor_type": "kvm", "namespace": "n", "name": "vm-" + name, "node": "node-1",
			"pod": name, "container": "hypervisor-exporter", "endpoint": "hv-metrics", "job": rules.VMsJob, "instance": c.instance,
		}
		if c.cluster != "" {
			want["cluster"] = c.cluster
		}
		require.Equal(t, want, series[0].Metric)
	}
	p.await(t, "kubevirt_vmi_hypervisor_info", 5)
	p.await(t, "kubevirt_vmi_hypervisor_domain_info", 5)
}

// target is one that Prometheus scrapes. Its Health is unknown until it was scraped once.
type target struct {
	Labels    map[string]string
	Health    string
	LastError string
}

// targets returns the VMs' targets by their pods.
func (p prometheus) targets(t *testing.T) map[string]target {
	t.Helper()
	var data struct{ ActiveTargets []target }
	require.NoError(t, p.get("targets", url.Values{"state": {"active"}}, &data))
	byPod := map[string]target{}
	for _, one := range data.ActiveTargets {
		if one.Labels["job"] == rules.VMsJob {
			byPod[one.Labels["pod"]] = one
		}
	}
	return byPod
}

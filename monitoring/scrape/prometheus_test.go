package scrape

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// prometheus is a running Prometheus of Debian's package.
type prometheus struct{ url string }

// startPrometheus starts a Prometheus with the configuration and rules, and waits until it is ready. It also scrapes
// itself.
func startPrometheus(t *testing.T, config map[string]any, rules []byte) prometheus {
	t.Helper()
	dir, address := t.TempDir(), testkit.FreeAddress(t)
	config["rule_files"] = []string{"rules.yaml"}
	config["scrape_configs"] = append(config["scrape_configs"].([]any), map[string]any{
		"job_name": "prometheus", "static_configs": []any{map[string]any{"targets": []string{address}}},
	})
	content, err := yaml.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), rules, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), content, 0o600))
	process, err := testkit.StartPrometheus(t.Context(), dir, address)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = process.Terminate(testkit.Patience)
		if t.Failed() {
			t.Logf("the end of Prometheus' log:\n%s", process.LogTail())
		}
	})
	return prometheus{url: "http://" + address}
}

// get asks the API. An answer that is not a success is an error.
func (p prometheus) get(path string, form url.Values, data any) error {
	response, err := http.Get(p.url + "/api/v1/" + path + "?" + form.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return nil
}

type sample struct {
	Metric map[string]string
	Value  [2]any // time, and the value as text
}

// query returns the values of the expression now.
func (p prometheus) query(expr string) ([]sample, error) {
	var data struct{ Result []sample }
	if err := p.get("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, fmt.Errorf("%s: %w", expr, err)
	}
	return data.Result, nil
}

// await returns the values of the expression once there are as many as wanted. Prometheus' scrape of itself may be missing
// on a busy machine.
func (p prometheus) await(t *testing.T, expr string, want int) (samples []sample) {
	t.Helper()
	testkit.Eventually(t, func() (err error) {
		if samples, err = p.query(expr); err == nil && len(samples) != want {
			err = fmt.Errorf("%s: %d values, want %d", expr, len(samples), want)
		}
		return err
	})
	return samples
}

// ruleErrors returns the last error of each rule that was evaluated, by group and name; an empty text is none.
func (p prometheus) ruleErrors(t *testing.T) map[string]string {
	t.Helper()
	var data struct {
		Groups []struct {
			Name  string
			Rules []struct{ Name, Health, LastError string }
		}
	}
	require.NoError(t, p.get("rules", nil, &data))
	all := map[string]string{}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			if rule.Health != "unknown" {
				all[group.Name+"/"+rule.Name] = rule.LastError
			}
		}
	}
	return all
}

// labelNames returns the names of labels, or the values of one, that the series of a selector have.
func (p prometheus) labelNames(t *testing.T, path, selector string) []string {
	t.Helper()
	var names []string
	require.NoError(t, p.get(path, url.Values{"match[]": {selector}}, &names))
	return names
}

// scrapeVMs returns the scrape configuration of the VMs for a Prometheus without the operator, with static targets in
// place of discovery: one for each pod, all served by the address.
func scrapeVMs(t *testing.T, address string, pods []pod) map[string]any {
	t.Helper()
	content, err := os.ReadFile(plainConfig)
	require.NoError(t, err)
	var config struct {
		ScrapeConfigs []map[string]any `yaml:"scrape_configs"`
	}
	require.NoError(t, yaml.Unmarshal(content, &config))
	vms := config.ScrapeConfigs[0]
	require.Contains(t, vms, "metric_relabel_configs")
	for _, key := range []string{"kubernetes_sd_configs", "tls_config", "authorization"} {
		require.Contains(t, vms, key)
		delete(vms, key)
	}
	vms["scheme"] = "http"
	vms["proxy_url"] = "http://" + address // in place of the relays
	var targets []any
	for _, one := range pods {
		targets = append(targets, map[string]any{"targets": []string{"192.0.2.1:9477"}, "labels": one.discovered()})
	}
	vms["static_configs"] = targets
	return vms
}

package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

const prometheusConfig = `
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: vmi
    honor_labels: true
    static_configs:
      - targets: [%q]
`

// TestPrometheus: to a Prometheus the series appears and goes stale as the VM comes and goes.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	p := start(t, setup{socket: daemon.Socket(), listen: testkit.FreeAddress(t)})
	ask := startPrometheus(t, p.listen)
	awaitQuery := func(query string, want ...string) {
		t.Helper()
		testkit.Eventually(t, func() error {
			kinds, err := ask(query)
			if err == nil && fmt.Sprint(kinds) != fmt.Sprint(want) {
				err = fmt.Errorf("%s gives %q, want %q", query, kinds, want)
			}
			return err
		})
	}
	const info, up = infoMetric + `{namespace="default",name="vm",node="node-1"} == 1`, `up{job="vmi"} == 1`
	awaitQuery(up, "")
	awaitQuery(info)
	vm, err := daemon.Define(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, vm.Start(t.Context()))
		awaitQuery(info, "qemu-tcg")
		require.NoError(t, vm.Destroy(t.Context()))
		awaitQuery(info) // an instant query: stale at the next scrape, not five minutes later
		awaitQuery(up, "")
	}
}

// startPrometheus scrapes one target each second, and returns what asks it for the label
// hypervisor_type of each series that an instant query gives.
func startPrometheus(t *testing.T, target string) func(query string) ([]string, error) {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	require.NoError(t, err, "install it with: apt-get install -y --no-install-recommends prometheus")
	dir, address := t.TempDir(), testkit.FreeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, prometheusConfig, target), 0o600))
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	process, err := testkit.Start(filepath.Join(dir, "log"), cmd)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", process.LogTail())
		}
	})
	return func(query string) ([]string, error) {
		response, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		var answer struct {
			Status, Error string
			Data          struct {
				Result []struct{ Metric map[string]string }
			}
		}
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
			return nil, err
		}
		if answer.Status != "success" {
			return nil, fmt.Errorf("%s: %s", query, answer.Error)
		}
		var kinds []string
		for _, series := range answer.Data.Result {
			kinds = append(kinds, series.Metric["hypervisor_type"])
		}
		return kinds, nil
	}
}

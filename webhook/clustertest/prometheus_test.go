package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// prometheus is a running Prometheus.
type prometheus struct{ url string }

// startPrometheus starts Debian's Prometheus with the configuration file and waits until it is ready.
func startPrometheus(t *testing.T, config string) prometheus {
	t.Helper()
	path, err := exec.LookPath("prometheus")
	require.NoError(t, err, "apt-get install prometheus")
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := prometheus{url: "http://" + address}
	start(t, exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(),
		"--web.listen-address="+address))
	eventually(t, func() bool {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return p
}

// prometheusVersion is what the program calls itself, such as 2.42.0.
func prometheusVersion(t *testing.T) string {
	t.Helper()
	output, err := exec.Command("prometheus", "--version").CombinedOutput()
	require.NoError(t, err, "apt-get install prometheus")
	var version string
	_, err = fmt.Sscanf(string(output), "prometheus, version %s", &version)
	require.NoError(t, err, "%s", output)
	return version
}

// query returns the labels of each series that the expression gives now; nil where Prometheus gives no answer.
func (p prometheus) query(expression string) []map[string]string {
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := p.get("/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return nil
	}
	var series []map[string]string
	for _, result := range answer.Data.Result {
		series = append(series, result.Metric)
	}
	return series
}

// target is one that Prometheus scrapes. Its Health is unknown until it was scraped once.
type target struct {
	Labels    map[string]string
	Health    string
	LastError string
}

func (p prometheus) targets() []target {
	var answer struct {
		Data struct{ ActiveTargets []target }
	}
	if err := p.get("/api/v1/targets?state=active", &answer); err != nil {
		return nil
	}
	return answer.Data.ActiveTargets
}

func (p prometheus) get(path string, into any) error {
	response, err := http.Get(p.url + path)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(into)
}

// operatorConfig is what the operator makes of the folder's PodMonitors, and of the Secrets and ConfigMaps that they
// name, for the Prometheus of this machine.
func operatorConfig(t *testing.T, folder string, named ...any) []byte {
	t.Helper()
	var monitors bytes.Buffer
	for _, object := range named {
		document, err := json.Marshal(object)
		require.NoError(t, err)
		fmt.Fprintf(&monitors, "---\n%s\n", document)
	}
	for _, object := range render(t, folder) {
		if object.GetKind() == "PodMonitor" {
			document, err := object.MarshalJSON()
			require.NoError(t, err)
			fmt.Fprintf(&monitors, "---\n%s\n", document)
		}
	}
	dir := t.TempDir()
	token, ca := filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	require.NoError(t, os.WriteFile(token, []byte(server.Config.BearerToken), 0o600))
	require.NoError(t, os.WriteFile(ca, server.Config.CAData, 0o600))

	generate := exec.Command(foreignProgram(t, "operatorconfig"), "--apiserver="+server.Config.Host, "--token-file="+token, "--ca-file="+ca,
		"--version="+prometheusVersion(t), "--tls-assets-dir="+dir)
	generate.Stdin, generate.Stderr = &monitors, os.Stderr
	config, err := generate.Output()
	require.NoError(t, err)
	// The operator's reloader, which fills these in, runs beside Prometheus in its pod.
	return []byte(strings.NewReplacer("$(SHARD)", "0", "$(POD_NAME)", "prometheus-0").Replace(string(config)))
}

// discoverPods does the discovery that the configuration asks for, by Prometheus' own package, since Debian builds
// Prometheus without it. It returns the file of the same configuration with the discovery done.
func discoverPods(t *testing.T, config []byte) string {
	t.Helper()
	dir := t.TempDir()
	generated, diverted := filepath.Join(dir, "generated.yml"), filepath.Join(dir, "prometheus.yml")
	require.NoError(t, os.WriteFile(generated, config, 0o600))
	start(t, exec.Command(foreignProgram(t, "poddiscovery"), "--config="+generated, "--dir="+dir))
	eventually(t, func() bool {
		_, err := os.Stat(diverted)
		return err == nil
	})
	return diverted
}

package clustertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

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

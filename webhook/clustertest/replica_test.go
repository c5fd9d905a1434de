package clustertest

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// replica is a process `webhook serve` with the flags of the manifest, but ports of its own.
type replica struct {
	*testkit.Process
	port, metricsPort, probePort int
}

// startReplica starts one that serves with tls.crt and tls.key of the folder.
func startReplica(t *testing.T, certificates string) *replica {
	t.Helper()
	r := &replica{port: freePort(t), metricsPort: freePort(t), probePort: freePort(t)}
	arguments := append(argumentsOf(t, "hypervisor-exporter-webhook"),
		"--sidecar-image="+injectedImage, // the manifests' is not set
		fmt.Sprintf("--secure-port=%d", r.port),
		"--tls-cert-file="+filepath.Join(certificates, "tls.crt"),
		"--tls-private-key-file="+filepath.Join(certificates, "tls.key"),
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", r.metricsPort),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", r.probePort),
	)
	r.Process = start(t, exec.Command(webhookProgram(t), arguments...))
	return r
}

// awaitReady waits as the kubelet does, by its probe.
func (r *replica) awaitReady(t *testing.T) {
	t.Helper()
	eventually(t, func() bool {
		response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", r.probePort))
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// start runs a command until the end of the test. Where that fails, it shows what the command said last.
func start(t *testing.T, command *exec.Cmd) *testkit.Process {
	t.Helper()
	process, err := testkit.Start(filepath.Join(t.TempDir(), "log"), command)
	require.NoError(t, err)
	t.Cleanup(func() {
		process.Kill()
		if t.Failed() {
			t.Logf("%s:\n%s", command, process.LogTail())
		}
	})
	return process
}

// argumentsOf are the arguments that the manifests give the first container of a Deployment, with $(VARIABLES) filled
// in as the kubelet does.
func argumentsOf(t *testing.T, deployment string) []string {
	t.Helper()
	pod := podOf(t, find(t, render(t, "."), "Deployment", deployment))
	containers, _, err := unstructured.NestedSlice(pod.Object, "spec", "containers")
	require.NoError(t, err)
	container := containers[0].(map[string]any)
	arguments, _, err := unstructured.NestedStringSlice(container, "args")
	require.NoError(t, err)
	variables, _, err := unstructured.NestedSlice(container, "env")
	require.NoError(t, err)
	for _, variable := range variables {
		v := variable.(map[string]any)
		for i := range arguments {
			arguments[i] = strings.ReplaceAll(arguments[i], "$("+v["name"].(string)+")", v["value"].(string))
		}
	}
	return arguments
}

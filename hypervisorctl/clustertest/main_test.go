// Package clustertest runs hypervisorctl against a real kube-apiserver. Its tests play KubeVirt, the kubelet and the
// controllers; `make integration` runs them.
package clustertest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubevirt-hypervisor-exporter/hypervisorctl/command"
	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

var (
	server *apiservertest.Server
	update = flag.Bool("update", false, "rewrite the golden files")

	definitions sync.Once
)

func TestMain(m *testing.M) {
	os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s }))
}

// answer is what a command line printed and how it ended.
type answer struct {
	out, err string
	code     int
}

// call runs a command line against the API server of the kubeconfig.
func call(t *testing.T, kubeconfig string, args ...string) answer {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	code := command.Run(ctx, streams, append([]string{"hypervisorctl", "--kubeconfig=" + kubeconfig}, args...))
	return answer{out.String(), errOut.String(), code}
}

// callAs runs a command line as another user.
func callAs(t *testing.T, user []string, args ...string) answer {
	t.Helper()
	return call(t, administrator(t), append(args, user...)...)
}

// eventually waits until the condition holds.
func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if !holds() {
			return errors.New("not yet")
		}
		return nil
	})
}

// kubeconfig returns that of a user of the API server with the token, or of its administrator without one.
func kubeconfig(t *testing.T, config *rest.Config, token string) string {
	t.Helper()
	if token == "" {
		token = config.BearerToken
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"test": {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"test": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"test": {Cluster: "test", AuthInfo: "test"}},
		CurrentContext: "test",
	}, file))
	return file
}

// administrator may do everything.
func administrator(t *testing.T) string { return kubeconfig(t, server.Config, "") }

// as returns the flags for another user in groups.
func as(user string, groups ...string) []string {
	args := []string{"--as=" + user}
	for _, group := range groups {
		args = append(args, "--as-group="+group)
	}
	return args
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// define makes the API server know the resources of KubeVirt and of the Prometheus operator, once for all tests.
func define(t *testing.T) {
	t.Helper()
	definitions.Do(func() {
		server.DefineFile(t, "testdata/crds/kubevirt.yaml")
		server.Define(t, apiservertest.PodMonitors, apiservertest.PrometheusRules, apiservertest.Prometheuses,
			apiservertest.PrometheusAgents, apiservertest.ThanosRulers)
	})
}

func readObjects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.Open(file)
	require.NoError(t, err)
	defer func() { _ = content.Close() }()
	objects, err := apiservertest.Objects(content)
	require.NoError(t, err)
	return objects
}

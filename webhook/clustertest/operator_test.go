package clustertest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// tokenReplaced is the label by which docs/certificates.md has the operator read the token and the CA again.
const tokenReplaced = "token-replaced"

// The Prometheus operator reads a new token and a new CA after the step in docs/certificates.md, although it sees neither
// change by itself: it ignores Secrets of service accounts, as kube-prometheus-stack has it, and watches Prometheus'
// namespace alone.
func TestOperatorReadsTokenAndCAAgain(t *testing.T) {
	require.Contains(t, readFile(t, "../../docs/certificates.md"), "label podmonitor --all "+tokenReplaced+"=")
	server.Define(t, apiservertest.OperatorKinds)
	prometheus, relay := server.Namespace(t, "prometheus-", nil), server.Namespace(t, "relay-", map[string]string{"token": "new"})
	monitor := find(t, render(t, "."), "PodMonitor", relayName)
	monitor.SetNamespace(relay)
	token := find(t, render(t, "."), "Secret", "hypervisor-exporter-scraper")
	token.SetNamespace(relay)
	authority := find(t, render(t, "."), "ConfigMap", relayName+"-ca")
	authority.SetNamespace(relay)
	account := find(t, render(t, "."), "ServiceAccount", "hypervisor-exporter-scraper")
	account.SetNamespace(relay)
	for _, object := range []*unstructured.Unstructured{account, withToken(token, "a-first-token"), monitor, authority, prometheusIn(prometheus)} {
		require.NoError(t, server.Apply(t.Context(), object))
	}
	startOperator(t, "--secret-field-selector=type!=kubernetes.io/service-account-token", "--prometheus-instance-namespaces="+prometheus)
	reads := func(what string) func() error {
		return func() error {
			if !strings.Contains(written(t.Context(), prometheus), what) {
				return errors.New("not in Prometheus' configuration: " + what)
			}
			return nil
		}
	}
	testkit.Eventually(t, reads("global:"))
	for round, secret := range []string{"a-first-token", "a-second-token"} {
		require.NoError(t, server.Delete(t.Context(), token))
		require.NoError(t, server.Apply(t.Context(), withToken(token, secret)))
		ca := string(newCA(t).CertPEM)
		authority.Object["data"] = map[string]any{"ca.crt": ca}
		require.NoError(t, server.Apply(t.Context(), authority))

		monitor.SetLabels(map[string]string{tokenReplaced: fmt.Sprint(round)})
		require.NoError(t, server.Apply(t.Context(), monitor))
		testkit.Eventually(t, reads(secret))
		testkit.Eventually(t, reads(strings.Split(ca, "\n")[3]))
	}
}

// withToken fills the Secret, as Kubernetes' controller of tokens does.
func withToken(secret *unstructured.Unstructured, token string) *unstructured.Unstructured {
	secret.Object["stringData"] = map[string]any{"token": token}
	return secret
}

// prometheusIn is a Prometheus that takes the PodMonitors of namespaces with the label token=new.
func prometheusIn(namespace string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus",
		"metadata": map[string]any{"name": "main", "namespace": namespace},
		"spec": map[string]any{
			"replicas": int64(1), "podMonitorSelector": map[string]any{},
			"podMonitorNamespaceSelector": map[string]any{"matchLabels": map[string]any{"token": "new"}},
		},
	}}
}

// startOperator starts the operator that the end-to-end tests run, beside the API server.
func startOperator(t *testing.T, arguments ...string) {
	t.Helper()
	folder := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(folder, "operator"), "github.com/prometheus-operator/prometheus-operator/cmd/operator")
	build.Dir, build.Env = "../../e2e/programs/monitoring", append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData, CertificateAuthority: server.Config.CAFile}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: server.Config.BearerToken}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	kubeconfig := filepath.Join(folder, "kubeconfig")
	require.NoError(t, clientcmd.WriteToFile(*config, kubeconfig))

	operator := exec.Command(filepath.Join(folder, "operator"), append(arguments, "--web.listen-address=127.0.0.1:0")...)
	operator.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	process, err := testkit.Start(filepath.Join(folder, "operator.log"), operator)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(process.LogTail())
		}
		process.Kill()
	})
}

// written is what the operator has written for the Prometheus of a namespace: its configuration and its CAs.
func written(ctx context.Context, namespace string) string {
	secrets, err := server.Client.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return ""
	}
	var all bytes.Buffer
	for _, secret := range secrets.Items {
		for _, value := range secret.Data {
			if unzip, err := gzip.NewReader(bytes.NewReader(value)); err == nil {
				value, _ = io.ReadAll(unzip)
			}
			all.Write(value)
		}
	}
	return all.String()
}

package apiservertest_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

var server *apiservertest.Server

func TestMain(m *testing.M) {
	os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s }))
}

func TestServerIsTheVersionThatBuildPins(t *testing.T) {
	version, err := server.Client.Discovery().ServerVersion()
	require.NoError(t, err)
	pinned, err := os.ReadFile("build/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(pinned), "k8s.io/kubernetes "+version.GitVersion)
}

func TestPodIsStored(t *testing.T) {
	namespace := server.Namespace(t, "stored", nil)
	pod := parse(t, `{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}`)
	pod.SetNamespace(namespace)
	stored, err := server.Create(t.Context(), pod, metav1.CreateOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, stored.GetUID())
}

func TestUnknownFieldIsRefused(t *testing.T) {
	config := parse(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, dada: {}}`)
	require.ErrorContains(t, server.Apply(t.Context(), config), "dada")
}

func TestTokenIsThatOfTheServiceAccount(t *testing.T) {
	namespace := server.Namespace(t, "token", nil)
	client := server.As(t, server.Token(t, namespace, "default"))
	_, err := client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	require.ErrorContains(t, err, "system:serviceaccount:"+namespace+":default")
}

func TestTwoServersAtOnceStartFromOneBinary(t *testing.T) {
	other, err := apiservertest.Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	defer other.Stop()
	require.NotEqual(t, server.Config.Host, other.Config.Host)
}

func TestObjectsOfAStream(t *testing.T) {
	objects, err := apiservertest.Objects(strings.NewReader("---\nkind: A\n---\n\n---\nkind: B\n"))
	require.NoError(t, err)
	require.Len(t, objects, 2)
	_, err = apiservertest.Objects(strings.NewReader("kind: [A"))
	require.Error(t, err)
}

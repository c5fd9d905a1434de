package clustertest

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// The cached kube-apiserver is the one that the module pins, and refuses unknown fields.
func TestServerIsTheVersionThatBuildPins(t *testing.T) {
	version, err := server.Client.Discovery().ServerVersion()
	require.NoError(t, err)
	pinned, err := os.ReadFile("../../internal/testkit/apiservertest/build/go.mod")
	require.NoError(t, err)
	require.Contains(t, string(pinned), "k8s.io/kubernetes "+version.GitVersion)

	objects, err := apiservertest.Objects(strings.NewReader(
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, dada: {}}`))
	require.NoError(t, err)
	require.ErrorContains(t, server.Apply(t.Context(), objects[0]), "dada")
}

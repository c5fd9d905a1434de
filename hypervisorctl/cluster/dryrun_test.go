package cluster

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The synthetic pod is the genuine one where it matters, and the webhook takes it for one.
func TestSyntheticPod(t *testing.T) {
	content, err := os.ReadFile("../../webhook/inject/testdata/masq.yaml")
	require.NoError(t, err)
	asJSON, _, err := inject.ReadPod(content)
	require.NoError(t, err)
	genuine := &corev1.Pod{}
	require.NoError(t, json.Unmarshal(asJSON, genuine))
	synthetic, err := Launcher("shop")
	require.NoError(t, err)
	require.Equal(t, "shop", synthetic.Namespace)
	require.Empty(t, synthetic.Name)
	require.Equal(t, genuine.Spec.Volumes, synthetic.Spec.Volumes)
	require.Equal(t, genuine.Spec.SecurityContext, synthetic.Spec.SecurityContext)
	require.Equal(t, genuine.Spec.NodeSelector, synthetic.Spec.NodeSelector)
	for i := range genuine.Spec.Containers {
		synthetic.Spec.Containers[i].Command = genuine.Spec.Containers[i].Command // they name the VM
	}
	require.Equal(t, genuine.Spec.Containers, synthetic.Spec.Containers)
	require.Equal(t, inject.Injected, inject.Decide(inject.Default("i:v1"), inject.FromCore(synthetic)).Reason)
}

package cluster

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The synthetic pod is the genuine one where it matters, and the webhook takes it for one.
func TestSyntheticPod(t *testing.T) {
	content, err := os.ReadFile("../../webhook/inject/testdata/masq.yaml")
	require.NoError(t, err)
	_, genuine, err := inject.ReadPod(content)
	require.NoError(t, err)
	synthetic, err := Launcher("shop")
	require.NoError(t, err)
	require.Equal(t, "shop", synthetic.Namespace)
	require.Empty(t, synthetic.OwnerReferences, "or a garbage collector would look for its VMI")
	require.Empty(t, synthetic.Name)
	require.Equal(t, genuine.Spec.Volumes, synthetic.Spec.Volumes)
	require.Equal(t, genuine.Spec.SecurityContext, synthetic.Spec.SecurityContext)
	require.Equal(t, genuine.Spec.NodeSelector, synthetic.Spec.NodeSelector)
	for i := range genuine.Spec.Containers {
		synthetic.Spec.Containers[i].Command = genuine.Spec.Containers[i].Command // they name the VM
	}
	require.Equal(t, genuine.Spec.Containers, synthetic.Spec.Containers)
	require.Equal(t, inject.Injected, inject.Decide(inject.Default("i:v1"), synthetic).Reason)
}

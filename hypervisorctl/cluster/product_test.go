package cluster

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubevirt-hypervisor-exporter/monitoring/rules"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestJobIsTheRules(t *testing.T) { require.Equal(t, rules.VMsJob, VMsJob) }

func shipped(t *testing.T) *appsv1.Deployment {
	t.Helper()
	content, err := os.ReadFile("../../manifests/base/deployment.yaml")
	require.NoError(t, err)
	deployment := &appsv1.Deployment{}
	require.NoError(t, yaml.Unmarshal(content, deployment))
	deployment.Spec.Template.Spec.Containers[0].Env[0].Value = "registry.example/exporter:v1" // as ../images sets it
	return deployment
}

func TestConfigOfTheManifests(t *testing.T) {
	deployment := shipped(t)
	require.Equal(t, Webhook, deployment.Name)
	config, err := ConfigOf(deployment)
	require.NoError(t, err)
	require.Equal(t, "registry.example/exporter:v1", config.Image, "from the variable")
	require.EqualValues(t, 9477, config.Port)
	require.Equal(t, inject.Unix, config.Exposure)
}

func TestConfigOfFlags(t *testing.T) {
	deployment := shipped(t)
	container := &deployment.Spec.Template.Spec.Containers[0]
	container.Args = append(container.Args, "--exposure=direct", "--sidecar-port=9999", "--sidecar-image-pull-secrets=a,b", "--sidecar-image-pull-policy=Always", "--sidecar-architectures=amd64,s390x", "--of-a-later-version=x", "--sidecar-cpu", "20m")
	config, err := ConfigOf(deployment)
	require.NoError(t, err)
	require.EqualValues(t, 9999, config.Port)
	require.Equal(t, inject.Direct, config.Exposure)
	require.Equal(t, []string{"a", "b"}, config.PullSecrets)
	require.Equal(t, corev1.PullAlways, config.ImagePullPolicy)
	require.Equal(t, []string{"amd64", "s390x"}, config.Architectures)
	require.Equal(t, "20m", config.CPU.String())

	needless := shipped(t)
	needless.Spec.Template.Spec.Containers[0].Args = append(needless.Spec.Template.Spec.Containers[0].Args, "--sidecar-image-pull-secrets=")
	config, err = ConfigOf(needless)
	require.NoError(t, err)
	require.Equal(t, []string{}, config.PullSecrets, "said to need none, which is not the same as unsaid")

	args := container.Args
	for _, wrong := range []string{"--exposure=loud", "--sidecar-memory=much"} {
		flag, _, _ := strings.Cut(wrong, "=")
		container.Args = append(slices.Clone(args), wrong)
		_, err = ConfigOf(deployment)
		require.ErrorContains(t, err, flag)
	}
	container.Name = "other"
	_, err = ConfigOf(deployment)
	require.ErrorContains(t, err, "no container called webhook")
}

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

package cluster

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
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

// badValues are values of the webhook's flags that the webhook refuses.
func badValues() map[string][]string {
	sizes := []string{"", "0", "-1", "much", "1e99", "9999999999Gi", "NaN", "0x10", "24 Mi", "1e-2147483647", "\x00", "1.5.5Mi"}
	numbers := []string{"", "0", "-1", "x", "1.5", "99999999999999999999", "1e3", " 1"}
	return map[string][]string{
		"sidecar-image":              {"", " ", "UPPER", "a b", "https://registry.example/x", "registry.example/x:", "registry.example/x@sha256:1", inject.UnsetImage},
		"sidecar-image-pull-policy":  {"always", "Sometimes", " "},
		"sidecar-image-pull-secrets": {"A_B", "a b", "a,,b", "../a", `"`},
		"sidecar-architectures":      {"", "x86_64", "amd64,nonsense", ",", `"`},
		"exposure":                   {"", "loud", "UNIX", "exposure_7"},
		"sidecar-port":               append(numbers, "80", "1023", "65536", "49152", "15090"),
		"sidecar-cpu":                append(sizes, "2000"),
		"sidecar-memory":             append(sizes, "1Ki", "1Ti"),
		"sidecar-go-memory-limit":    append(sizes, "1Ti"),
		"sidecar-gogc":               numbers,
		"sidecar-version":            nil, // any text is a version
	}
}

// A configuration that the webhook would refuse is an error in one line that names the flag, and never a panic: for each flag
// there is, with each bad value, and for a flag without a value.
func TestConfigThatTheWebhookRefuses(t *testing.T) {
	config := inject.Default("x")
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.AddFlags(flags)
	bad, tried := badValues(), 0
	flags.VisitAll(func(flag *pflag.Flag) {
		values, known := bad[flag.Name]
		require.True(t, known, "no bad values of --%s", flag.Name)
		for _, value := range values {
			deployment := shipped(t)
			container := &deployment.Spec.Template.Spec.Containers[0]
			container.Args = append(container.Args, "--"+flag.Name+"="+value)
			_, err := ConfigOf(deployment)
			require.Error(t, err, "--%s=%q", flag.Name, value)
			require.Contains(t, err.Error(), "the webhook refuses the arguments of Deployment "+Webhook+": ")
			require.NotContains(t, err.Error(), "\n")
			tried++
		}
		deployment := shipped(t)
		container := &deployment.Spec.Template.Spec.Containers[0]
		container.Args = append(container.Args, "--"+flag.Name)
		_, err := ConfigOf(deployment)
		require.ErrorContains(t, err, flag.Name, "without a value")
	})
	require.Greater(t, tried, 70)
}

// FuzzConfigOf: anyone who may change the Deployment can write any argument.
func FuzzConfigOf(f *testing.F) {
	for name, values := range badValues() {
		for _, value := range values {
			f.Add("--"+name+"="+value, "")
		}
	}
	f.Add("--sidecar-memory", "0")
	f.Add("--", "-")
	f.Fuzz(func(t *testing.T, first, second string) {
		deployment := shipped(t)
		container := &deployment.Spec.Template.Spec.Containers[0]
		container.Args = append(container.Args, first, second)
		config, err := ConfigOf(deployment)
		if err != nil {
			return
		}
		pod, err := Launcher("shop")
		require.NoError(t, err)
		_ = inject.Decide(config, inject.FromCore(pod)) // it panics with a configuration that is not valid
	})
}

package inject_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// The sidecar has compute's AppArmor profile, as the API server reads it: the field before the annotation from before
// Kubernetes 1.30, and none where compute has none of its own.
func TestAppArmorIsComputes(t *testing.T) {
	const annotation = "container.apparmor.security.beta.kubernetes.io/compute"
	local := func(name string) *corev1.AppArmorProfile {
		return &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost, LocalhostProfile: &name}
	}
	unconfined := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	runtimeDefault := &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}
	for name, test := range map[string]struct {
		field      *corev1.AppArmorProfile
		annotation string
		want       *corev1.AppArmorProfile
	}{
		"none":                       {nil, "", nil},
		"field":                      {local("vm"), "", local("vm")},
		"field before annotation":    {runtimeDefault, "unconfined", runtimeDefault},
		"annotation unconfined":      {nil, "unconfined", unconfined},
		"annotation runtime default": {nil, "runtime/default", runtimeDefault},
		"annotation localhost":       {nil, "localhost/vm/a", local("vm/a")},
		"annotation without a name":  {nil, "localhost/", nil},
		"annotation padded":          {nil, "localhost/ vm", nil},
		"annotation longest":         {nil, "localhost/" + strings.Repeat("x", 4095), local(strings.Repeat("x", 4095))},
		"annotation too long":        {nil, "localhost/" + strings.Repeat("x", 4096), nil},
		"annotation nonsense":        {nil, "docker-default", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, podJSON, pod := readInput(t, "testdata/masq")
			if test.annotation != "" {
				pod.Annotations[annotation] = test.annotation
			}
			for i := range pod.Spec.Containers {
				if c := &pod.Spec.Containers[i]; c.Name == "compute" {
					c.SecurityContext.AppArmorProfile = test.field
				}
			}
			sidecar := initContainer(patched(t, podJSON, inject.Decide(testConfig(), pod).Patch), inject.ContainerName)
			require.Equal(t, test.want, sidecar.SecurityContext.AppArmorProfile)
		})
	}
}

// What the sidecar takes over from compute is bounded before it is copied.
func TestSecurityTextsAreBounded(t *testing.T) {
	for member, text := range map[string]string{
		"seLinuxOptions":  `{"user":"` + strings.Repeat("x", 4097) + `"}`,
		"appArmorProfile": `{"type":"Localhost","localhostProfile":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"securityContext":{"` + member + `":` + text + `}}]}}`))
		require.ErrorContains(t, err, member+" of more than")
	}
}

package inject_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestExposureAsFlag(t *testing.T) {
	for _, e := range []inject.Exposure{inject.Unix, inject.Direct} {
		var parsed inject.Exposure
		require.NoError(t, parsed.Set(e.String()))
		require.Equal(t, e, parsed)
	}
	require.ErrorContains(t, new(inject.Exposure).Set("tcp"), "want unix or direct")
}

// With Unix nothing listens on TCP; the port is there to be found by.
func TestUnixOpensNoPort(t *testing.T) {
	_, podJSON, pod := readInput(t, "testdata/masq")
	after := patched(t, podJSON, inject.Decide(testConfig(), pod).Patch)
	sidecar := initContainer(after, inject.ContainerName)
	require.Equal(t, []string{"--web.listen-address=unix:///var/run/hypervisor-exporter/metrics.sock"}, sidecar.Args)
	require.Equal(t, inject.PortName, sidecar.Ports[0].Name)
	volume := after.Spec.Volumes[len(after.Spec.Volumes)-1]
	require.Equal(t, inject.VolumeName, volume.Name)
	require.Equal(t, &corev1.EmptyDirVolumeSource{}, volume.EmptyDir, "a size limit evicts, and memory is the pod's")
	for _, c := range after.Spec.Containers {
		for _, mount := range c.VolumeMounts {
			require.NotEqual(t, inject.VolumeName, mount.Name, "the sidecar's alone")
		}
	}
}

// The brackets around $(POD_IP) fit both families.
func TestDirectListensOnThePodsAddress(t *testing.T) {
	cfg := testConfig()
	cfg.Exposure = inject.Direct
	_, podJSON, pod := readInput(t, "testdata/masq")
	after := patched(t, podJSON, inject.Decide(cfg, pod).Patch)
	sidecar := initContainer(after, inject.ContainerName)
	require.Equal(t, []string{"--web.listen-address=[$(POD_IP)]:9477", "--web.bind-to-device"}, sidecar.Args)
	require.Equal(t, "status.podIP", sidecar.Env[0].ValueFrom.FieldRef.FieldPath)
	require.Len(t, after.Spec.Volumes, len(pod.Spec.Volumes)+1, "what takes the token's place")
	for _, address := range []string{"10.244.0.7", "fd00:10:244::7"} {
		expanded := strings.ReplaceAll(strings.TrimPrefix(sidecar.Args[0], "--web.listen-address="), "$(POD_IP)", address)
		host, port, err := net.SplitHostPort(expanded)
		require.NoError(t, err)
		require.Equal(t, address, host)
		require.Equal(t, "9477", port)
	}
}

// A list of volumes that the autoscaler may lose gets ours; none is begun.
func TestAutoscalersListIsKeptComplete(t *testing.T) {
	for list, want := range map[string]string{"": "", "a,b": "a,b,hypervisor-exporter", "hypervisor-exporter": "hypervisor-exporter"} {
		_, podJSON, pod := readInput(t, "testdata/masq")
		if list != "" {
			pod.Annotations[safeVolumes] = list
		}
		decision := inject.Decide(testConfig(), pod)
		require.True(t, decision.Injected())
		if after := patched(t, podJSON, decision.Patch).Annotations[safeVolumes]; after != "" || list != want {
			require.Equal(t, want, after)
		}
	}
}

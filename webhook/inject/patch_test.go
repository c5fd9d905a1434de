package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestPatchOperations(t *testing.T) {
	const status = `{"op":"add","path":"/metadata/annotations/hypervisor-exporter.kubevirt.io~1status","value":"v1.2.3"}`
	const vmi = `{"op":"add","path":"/metadata/annotations/hypervisor-exporter.kubevirt.io~1vmi","value":"masq"}`
	const volume = `{"op":"add","path":"/spec/volumes/-","value":{"name":"hypervisor-exporter","emptyDir":{}}}`
	tests := map[string]struct{ first, value string }{
		"masq":                  {`"path":"/spec/initContainers/0"`, `"value":{"name":"hypervisor-exporter"`},
		"no-init-containers":    {`"path":"/spec/initContainers"`, `"value":[{"name":"hypervisor-exporter"`},
		"empty-init-containers": {`"path":"/spec/initContainers"`, `"value":[{"name":"hypervisor-exporter"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, pod := readInput(t, "testdata/"+name)
			patch := inject.Decide(testConfig(), pod).Patch
			require.Len(t, patch, 4)
			require.Contains(t, marshal(t, patch[0]), `{"op":"add",`+test.first+`,`+test.value)
			require.JSONEq(t, volume, marshal(t, patch[1]))
			require.JSONEq(t, status, marshal(t, patch[2]))
			require.JSONEq(t, vmi, marshal(t, patch[3]))
		})
	}
}

func TestApplyKeepsWhatItDoesNotTouch(t *testing.T) {
	const pod = `{"z":1.50,"a":12345678901234567890,"metadata":{"annotations":{"b":"<&>","a":""}},"spec":{"new":[3,1,2]}}`
	got, err := inject.Apply([]byte(pod), []inject.Operation{{Op: "add", Path: "/metadata/annotations/x~1y~0z", Value: "v"}})
	require.NoError(t, err)
	require.Equal(t, `{"z":1.50,"a":12345678901234567890,"metadata":{"annotations":{"b":"<&>","a":"","x/y~z":"v"}},"spec":{"new":[3,1,2]}}`, string(got))
}

func TestApplyFails(t *testing.T) {
	add := []inject.Operation{{Op: "add", Path: "/spec/initContainers/0", Value: 1}}
	_, err := inject.Apply([]byte(`{"spec":{}}`), add)
	require.ErrorContains(t, err, "apply patch to pod")
	_, err = inject.Apply([]byte(`{`), add)
	require.ErrorContains(t, err, "apply patch to pod")
	_, err = inject.Apply([]byte(`{}`), []inject.Operation{{Op: "add", Path: "/x", Value: func() {}}})
	require.ErrorContains(t, err, "encode patch")
}

package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

const bare = "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    a: "

// What YAML 1.1 takes for something else than a string and YAML 1.2 does not.
func TestReadPodTakesBareWordsForStrings(t *testing.T) {
	for _, word := range []string{"y", "No", "on", "2026-01-02", "x"} {
		_, pod, err := inject.ReadPod([]byte(bare + word))
		require.NoError(t, err, word)
		require.Equal(t, word, pod.Annotations["a"])
	}
	// A date next to what only YAML 1.2 reads: JSON has none.
	_, pod, err := inject.ReadPod([]byte(bare + "y\n    since: 2026-01-02"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "y", "since": "2026-01-02"}, pod.Annotations)

	for _, other := range []string{"true", "1", "[]"} {
		_, _, err := inject.ReadPod([]byte(bare + other))
		require.ErrorContains(t, err, "parse pod", other)
	}
}

// kubectl's reading comes first: the API server would see a boolean.
func TestReadPodReadsAsKubectlDoes(t *testing.T) {
	podJSON, pod, err := inject.ReadPod([]byte("apiVersion: v1\nkind: Pod\nspec: {hostNetwork: yes}"))
	require.NoError(t, err)
	require.True(t, pod.Spec.HostNetwork)
	require.JSONEq(t, `{"apiVersion":"v1","kind":"Pod","spec":{"hostNetwork":true}}`, string(podJSON))
}

func TestReadPodOfSomethingElse(t *testing.T) {
	for _, document := range []string{"", "# x", "- kind: Pod", "kind: Pod", "apiVersion: v1\nkind: PodList", "apiVersion: [v1]\nkind: Pod"} {
		_, pod, err := inject.ReadPod([]byte(document))
		require.NoError(t, err, document)
		require.Nil(t, pod, document)
	}
}

// encoding/json would take Spec for spec, and a patch to /spec would not apply.
func TestParsePodIsCaseSensitive(t *testing.T) {
	pod, err := inject.ParsePod([]byte(`{"Spec":{"hostNetwork":true},"spec":{"HostNetwork":true}}`))
	require.NoError(t, err)
	require.False(t, pod.Spec.HostNetwork)
}

func TestReadPodRefusesToLoseADocument(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\n"
	_, _, err := inject.ReadPod([]byte(pod + "...\n" + pod))
	require.ErrorContains(t, err, "put --- between documents")
	_, read, err := inject.ReadPod([]byte(pod + "...\n"))
	require.NoError(t, err)
	require.NotNil(t, read)
}

package inject_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	kjson "sigs.k8s.io/json"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// requireAsCore: what is read through the API server's type is the same, and that stays as it is. An
// empty list or map is as one that is missing.
func requireAsCore(t require.TestingT, pod *inject.Pod, core *corev1.Pod) {
	before := core.DeepCopy()
	defer func() { require.Equal(t, before, core) }()
	require.Equal(t, withoutEmpty(t, marshal(t, inject.FromCore(core))), withoutEmpty(t, marshal(t, pod)))
}

func withoutEmpty(t require.TestingT, text string) any {
	var value any
	require.NoError(t, json.Unmarshal([]byte(text), &value))
	var prune func(any) any
	prune = func(value any) any {
		switch value := value.(type) {
		case map[string]any:
			for key, member := range value {
				if member = prune(member); member == nil && key != "cpu" && key != "memory" {
					delete(value, key)
				} else {
					value[key] = member
				}
			}
		case []any:
			for i := range value {
				value[i] = prune(value[i])
			}
			if len(value) == 0 {
				return nil
			}
		}
		return value
	}
	return prune(value)
}

// FuzzParsePod: if the API server's type and ours both accept a pod, as they do each of testdata, they read the same.
func FuzzParsePod(f *testing.F) {
	for _, name := range inputs(f) {
		_, podJSON, _ := readInput(f, name)
		f.Add(podJSON)
	}
	f.Fuzz(func(t *testing.T, podJSON []byte) {
		if slowQuantity.Match(podJSON) {
			return // corev1 would not return
		}
		pod, err := inject.ParsePod(podJSON)
		core := &corev1.Pod{}
		if err != nil || kjson.UnmarshalCaseSensitivePreserveInts(podJSON, core) != nil {
			return
		}
		requireAsCore(t, pod, core)
	})
}

// TestQuantities: what makes resource.ParseQuantity and its sums slow with a few bytes is refused
// before it is called.
func TestQuantities(t *testing.T) {
	forty := strings.Repeat("0", 39) + "1"
	for text, want := range map[string]string{
		`"1"`: "1", `1`: "1", `1.5`: "1500m", `"1e3"`: "1e3", `" 2Ki "`: "2Ki", `"1E"`: "1E", `"1Ei"`: "1Ei", `"1E2"`: "100", `"-1n"`: "-1n",
		`"9223372036854775807"`: "9223372036854775807", `"1e-99"`: "1e-9", `"` + forty + `"`: forty,
	} {
		var q inject.Quantity
		require.NoError(t, json.Unmarshal([]byte(text), &q), text)
		require.True(t, q.Stated)
		require.Equal(t, want, q.String(), text)
	}
	for _, text := range []string{`"1e-2147483647"`, `1e500`, `1e2147483647`, `"1e+100"`, `"1E-100"`, `"` + strings.Repeat("1", 41) + `"`,
		`"0.` + strings.Repeat("0", 40) + `1"`, `""`, `"1.2.3"`, `"x"`, `"\u0031"`, `true`, `{}`, `["1"]`, `"1 1"`, `"1\n"`} {
		var q inject.Quantity
		require.Error(t, json.Unmarshal([]byte(text), &q), text)
		_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"resources":{"requests":{"cpu":` + text + `}}}]}}`))
		require.Error(t, err, text)
		require.Less(t, len(err.Error()), 256, "it goes to the log")
	}
	// Other resources are not read.
	_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"resources":{"limits":{"x":"1e-2147483647"}}}]}}`))
	require.NoError(t, err)
}

// TestSecurityTextsAreBounded: what the sidecar takes over from compute is bounded before it is copied.
func TestSecurityTextsAreBounded(t *testing.T) {
	for member, text := range map[string]string{
		"seLinuxOptions":  `{"user":"` + strings.Repeat("x", 4097) + `"}`,
		"appArmorProfile": `{"type":"Localhost","localhostProfile":"` + strings.Repeat("x", 4096) + `"}`,
	} {
		_, err := inject.ParsePod([]byte(`{"spec":{"containers":[{"securityContext":{"` + member + `":` + text + `}}]}}`))
		require.ErrorContains(t, err, member+" of more than")
	}
}

// TestParsePodIsCaseSensitive: encoding/json would read Spec as spec, and a patch to /spec would not apply.
func TestParsePodIsCaseSensitive(t *testing.T) {
	pod, err := inject.ParsePod([]byte(`{"Spec":{"hostNetwork":true},"spec":{"HostNetwork":true}}`))
	require.NoError(t, err)
	require.False(t, pod.Spec.HostNetwork)
}

func TestVM(t *testing.T) {
	_, _, first := readInput(t, "masq")
	require.Equal(t, inject.VM{Name: "masq", UID: "de0d9c32-29da-4e4a-97da-26f918ca12d6"}, first.VM())
	_, _, target := readInput(t, "migration-target")
	require.NotEmpty(t, target.VM().Migration)
	require.Equal(t, target.Labels["kubevirt.io/migrationJobUID"], target.VM().Migration)
	require.Equal(t, inject.VM{}, (&inject.Pod{}).VM())
}

// slowQuantity takes apimachinery minutes to decode ("1e-2147483647"): the API server would never
// call us.
var slowQuantity = regexp.MustCompile(`[eE]-?[0-9]{4,}`)

// FuzzDecide: no pod makes Decide panic, and the invariants hold for each.
func FuzzDecide(f *testing.F) {
	for _, name := range inputs(f) {
		_, podJSON, _ := readInput(f, name)
		f.Add(podJSON)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if slowQuantity.Match(input) {
			return
		}
		// The API server encodes the pod again: no member twice, valid UTF-8.
		decoder := json.NewDecoder(bytes.NewReader(input))
		decoder.UseNumber()
		var value map[string]any
		if decoder.Decode(&value) != nil {
			return
		}
		podJSON, err := json.Marshal(value)
		require.NoError(t, err)
		pod, err := inject.ParsePod(podJSON)
		if err != nil {
			return
		}
		checkDecision(t, testConfig(), podJSON, pod)
	})
}

// FuzzRun: no document makes the command panic, and it reads what it prints as YAML again, without
// injecting anything more.
func FuzzRun(f *testing.F) {
	for _, name := range inputs(f) {
		document, _, _ := readInput(f, name)
		f.Add(document)
	}
	f.Add([]byte("# comment\n---\nkind: List\n--- \n{}\n"))
	f.Add([]byte(`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod"},{"kind":"Pod"},{}]}`))
	f.Add([]byte("a: &a [b]\nc: *a\n---\n- 1\n---\ntrue"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if slowQuantity.Match(input) || len(input) > 1<<16 {
			return
		}
		var once, twice bytes.Buffer
		if inject.Run(testConfig(), bytes.NewReader(input), &once, io.Discard, inject.RunOptions{}) != nil {
			return
		}
		require.NoError(t, inject.Run(testConfig(), bytes.NewReader(once.Bytes()), &twice, io.Discard, inject.RunOptions{}))
		require.Equal(t, once.String(), twice.String())
	})
}

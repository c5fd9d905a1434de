package inject_test

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

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

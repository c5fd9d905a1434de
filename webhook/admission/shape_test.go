package admission

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/refusals"
)

func TestCountValues(t *testing.T) {
	for text, want := range map[string]int{
		``: 1, `1`: 1, `{}`: 2, `[[],[]]`: 5, `{"a":1,"b":[1,2]}`: 5, `"{[,\"{[,"`: 1, `{"a\\":{},"b":"\u007b,\\\""}`: 4, "\"": 1, `"\`: 1,
	} {
		values, err := countValues([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, want, values, text)
	}
	repeat := func(s string, n int) string { return strings.Repeat(s, n) }
	for name, c := range map[string]struct{ fits, over string }{
		"values": {"[" + repeat("0,", maxValues-2), "[" + repeat("0,", maxValues-1)},
		"levels": {repeat(`{"a":`, maxDepth), repeat("[", maxDepth+1)},
		"number": {"[" + repeat("1", maxScalar) + "," + repeat("1", maxScalar) + "]", "-" + repeat("1", maxScalar)},
		"string": {`"` + repeat("x", maxScalar) + `"`, repeat("x", maxScalar+1)},
	} {
		_, err := countValues([]byte(c.fits))
		require.NoError(t, err, name)
		_, err = countValues([]byte(c.over))
		require.Error(t, err, name)
	}
}

// FuzzCountValues: of JSON, never fewer values are counted than there are.
func FuzzCountValues(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		var value any
		counted, err := countValues(text)
		if json.Unmarshal(text, &value) != nil || err != nil {
			return
		}
		require.GreaterOrEqual(t, counted, valuesIn(value))
	})
}

func valuesIn(value any) int {
	sum := 1
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			sum += valuesIn(v)
		}
	case map[string]any:
		for _, v := range value {
			sum += valuesIn(v)
		}
	}
	return sum
}

// A pod far larger than any that KubeVirt makes is within the bounds: here 500 disks.
func TestLargePodIsWithinBounds(t *testing.T) {
	for name, pod := range fixtures(t) {
		values, err := countValues(review(t, pod, nil))
		require.NoError(t, err, name)
		require.Less(t, values, maxValues/10, name)
	}
	disk := `{"name":"disk-%d","persistentVolumeClaim":{"claimName":"claim-%d"}},` // 4 values; 18 with mounts and managedFields
	values, err := countValues([]byte(`[` + strings.Repeat(disk, 500*18/4) + `0]`))
	require.NoError(t, err)
	require.Less(t, values, maxValues/3)
}

// The worst that a body can hold, for each thing that is decoded, takes no more memory than what serve reserves for
// it. All that is allocated counts, garbage too.
func TestDecodingIsBounded(t *testing.T) {
	fill := func(format string, n int) string { return strings.TrimSuffix(strings.Repeat(format+",", n), ",") }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%x":"",`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	text := func(s string) string { return strings.Repeat(s, (maxBody-4096)/len(s)) }
	bodies := map[string]string{
		"containers":                  `"spec":{"containers":[` + fill(`{}`, maxValues/2-50) + `]}`,
		"resources":                   `"spec":{"containers":[` + fill(`{"resources":{"requests":{},"limits":{}}}`, maxValues/8-50) + `]}`,
		"quantities":                  `"spec":{"containers":[` + fill(`{"resources":{"requests":{"cpu":"0.00000000000000000000000000000000000001"}}}`, maxValues/4-50) + `]}`,
		"numbers":                     `"spec":{"containers":[` + fill(`{"resources":{"requests":{"cpu":1234567890123456789012345678901234567890,"memory":"9999999999999999999999999999999999999999"}}}`, maxValues/5-50) + `]}`,
		"exponents":                   `"spec":{"containers":[` + fill(`{"resources":{"requests":{"cpu":"1e-99","memory":"1e99"}}}`, maxValues/8-50) + `]}`,
		"mounts":                      `"spec":{"containers":[{"volumeMounts":[` + fill(`{}`, maxValues/2-50) + `]}]}`,
		"mounts, one each":            `"spec":{"containers":[` + fill(`{"volumeMounts":[{}]}`, maxValues/5-50) + `]}`,
		"security contexts":           `"spec":{"initContainers":[` + fill(`{"securityContext":{"seLinuxOptions":{},"runAsUser":1}}`, maxValues/6-50) + `]}`,
		"volumes":                     `"spec":{"volumes":[` + fill(`{}`, maxValues/2-50) + `]}`,
		"owners":                      `"metadata":{"ownerReferences":[` + fill(`{"controller":true}`, maxValues/3-50) + `]}`,
		"annotations":                 `"metadata":{"annotations":{` + keys(maxValues-50) + `}}`,
		"a long string":               `"metadata":{"annotations":{"x":"` + text("x") + `"}}`,
		"an escaped string":           `"metadata":{"annotations":{"x":"` + text(`\n`) + `"}}`,
		"an escaped key":              `"` + text(`\n`) + `":0`,
		"a string that is read twice": `"metadata":{"name":"` + strings.Repeat("x", 3<<20) + `","name":"` + strings.Repeat("x", 3<<20) + `"}`,
		"values that are not read":    `"other":[` + fill(`{}`, maxValues/2-50) + `]`,
		"a long quantity":             `"spec":{"containers":[{"resources":{"limits":{"cpu":"` + text("1") + `"}}}]}`,
		"a safe list":                 `"metadata":{"annotations":{"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes":"` + text("<") + `"}}`,
		"spaces":                      text(" ") + `"x":0`,
	}
	for name, pod := range bodies {
		t.Run(name, func(t *testing.T) {
			body := []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":{` + pod + `}}}`)
			require.LessOrEqual(t, len(body), maxBody)
			values, err := countValues(body)
			require.NoError(t, err)
			reserved := 2*len(body) + values*valueCost
			allocated := allocatedBy(func() { _, _ = answerTo(body, rememberRefusals(realDecision, refusals.New(time.Now))) })
			t.Logf("body %d kB, values %d, reserved %d kB, allocated %d kB (%d bytes a value)", len(body)>>10, values, reserved>>10, allocated>>10, int(allocated)/values)
			require.LessOrEqual(t, allocated, uint64(reserved)+64<<10)
		})
	}
}

// allocatedBy returns the bytes that a call allocates, garbage included. No test runs beside it.
func allocatedBy(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

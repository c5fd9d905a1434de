package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admission/v1"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/launcherpod"
	"kubevirt-hypervisor-exporter/webhook/inject"
	"kubevirt-hypervisor-exporter/webhook/refusals"
)

func TestNoMemoryLeft(t *testing.T) {
	for name, of := range map[string]func(*Handler) *budget{
		"for bodies":   func(h *Handler) *budget { return h.bodies },
		"for decoding": func(h *Handler) *budget { return h.decoding },
	} {
		t.Run(name, func(t *testing.T) {
			small := string(review(t, virtLauncher(t), nil))
			large := strings.Replace(small, "{", "{"+strings.Repeat(" ", 1<<20), 1)
			synctest.Test(t, func(t *testing.T) {
				decide := func(*inject.Pod) inject.Decision { return inject.Decision{Reason: inject.NoVMI} }
				handler := NewHandler(decide, NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
				send := func(body string) int { return post(handler, strings.NewReader(body), len(body)).Code }

				others := share{of: of(handler)}
				require.NoError(t, others.raise(t.Context(), others.of.large.bytes))
				require.Equal(t, http.StatusServiceUnavailable, send(large))
				require.Equal(t, http.StatusOK, send(small), "what is small does not wait behind what is large")

				for others.small < others.of.small.bytes {
					another := share{of: others.of}
					require.NoError(t, another.raise(t.Context(), others.of.smallLimit))
					others.small += another.small
				}
				start := time.Now()
				require.Equal(t, http.StatusServiceUnavailable, send(small))
				require.Equal(t, patience, time.Since(start), "before the API server gives up")

				go func() { time.Sleep(time.Second); others.release() }()
				require.Equal(t, http.StatusOK, send(small), "memory that becomes free is taken")
				for _, b := range []*budget{handler.bodies, handler.decoding} {
					require.True(t, b.small.free.TryAcquire(b.small.bytes), "all of it is given back")
					require.True(t, b.large.free.TryAcquire(b.large.bytes), "all of it is given back")
				}
			})
		})
	}
}

func post(h http.Handler, body io.Reader, length int) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Path, body)
	r.ContentLength = int64(length)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestPromisesTakeNoMemory: a body takes memory as it arrives, whatever length it promises.
func TestPromisesTakeNoMemory(t *testing.T) {
	for sent, want := range map[int]int64{0: firstRead, firstRead - 1: firstRead, firstRead: 2 * firstRead, 1 << 20: 2 << 20, 7<<20 - 1: 7 << 20} {
		memory := share{of: newBodyBudget()}
		r := httptest.NewRequest(http.MethodPost, Path, io.LimitReader(zeros{}, int64(sent)))
		r.ContentLength = maxBody
		_, problem := readBody(t.Context(), httptest.NewRecorder(), r, &memory)
		require.Equal(t, UnreadableBody, problem.kind, "it ends early")
		require.Equal(t, want, max(memory.small, memory.large), "after %d bytes", sent)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestStalledBody: a connection that stops in the middle of a body is given up in time.
func TestStalledBody(t *testing.T) {
	b := newBench(realDecision)
	server := httptest.NewServer(b.handler)
	defer server.Close()
	stalled, end := io.Pipe()
	defer func() { _ = end.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, stalled)
	require.NoError(t, err)
	r.ContentLength = 100
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err, "an answer comes before the body does")
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.InDelta(t, 1, b.problems(UnreadableBody), 0)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestRejectedRequestsAreLoggedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(realDecision)
		lines := func() int { return strings.Count(b.log.String(), "\n") }
		for range 100 {
			post(b.handler, strings.NewReader("{"), 1)
		}
		require.Equal(t, 1, lines())
		post(b.handler, strings.NewReader(strings.Repeat("[", 100)), 100)
		require.Equal(t, 2, lines(), "one reason does not hide another")
		time.Sleep(rejectedEvery)
		post(b.handler, strings.NewReader("{"), 1)
		require.Equal(t, 3, lines())
		require.InDelta(t, 101, b.problems(NotAReview), 0, "all are counted")
	})
}

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

// FuzzCountValues: in JSON, at least as many values are counted as there are.
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

// TestLargePodIsWithinBounds: a pod far larger than any that KubeVirt makes, here with 500 disks, is within the bounds.
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

// TestDecodingIsBounded: the worst that a body can hold, for each thing that is decoded, takes no more
// memory than serve reserves for it. All that is allocated counts, also what is garbage.
func TestDecodingIsBounded(t *testing.T) {
	fill := func(format string, n int) string { return strings.TrimSuffix(strings.Repeat(format+",", n), ",") }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%x":"",`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	longest := maxBody / 8 // the bound grows with the length; TestLargestBody has the largest
	if testkit.Soak() {
		longest = maxBody
	}
	text := func(s string) string { return strings.Repeat(s, (longest-4096)/len(s)) }
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
		"a string that is read twice": `"metadata":{"name":"` + strings.Repeat("x", longest/3) + `","name":"` + strings.Repeat("x", longest/3) + `"}`,
		"values that are not read":    `"other":[` + fill(`{}`, maxValues/2-50) + `]`,
		"a long quantity":             `"spec":{"containers":[{"resources":{"limits":{"cpu":"` + text("1") + `"}}}]}`,
		"a safe list":                 `"metadata":{"annotations":{"cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes":"` + text("<") + `"}}`,
		"spaces":                      text(" ") + `"x":0`,
	}
	for name, pod := range bodies {
		t.Run(name, func(t *testing.T) {
			answer := requireBounded(t, []byte(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",`+
				`"request":{"uid":"u","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":{`+pod+`}}}`))
			require.Nil(t, answer.Response.Patch)
		})
	}
}

// TestLargestBody: the largest body that an API server can send, full of what costs most, is answered
// with a patch, within the memory that is reserved for it.
func TestLargestBody(t *testing.T) {
	pod, err := launcherpod.Largest(virtLauncher(t), maxBody, maxValues)
	require.NoError(t, err)
	body := review(t, pod, nil)
	values, err := countValues(body)
	require.NoError(t, err)
	require.Greater(t, len(body), maxBody*9/10)
	require.Greater(t, values, maxValues*9/10)
	require.NotNil(t, requireBounded(t, body).Response.Patch)
	require.NotNil(t, response(t, newBench(realDecision).post(body)).Response.Patch)
}

// requireBounded answers the review in the memory that serve reserves for it.
func requireBounded(t *testing.T, body []byte) *admissionv1.AdmissionReview {
	t.Helper()
	require.LessOrEqual(t, len(body), maxBody)
	values, err := countValues(body)
	require.NoError(t, err)
	reserved := 2*len(body) + values*valueCost
	judge := rememberRefusals(realDecision, refusals.New(time.Now))
	var answer []byte
	allocated := allocatedBy(func() { answer, _ = answerTo(body, judge) })
	t.Logf("body %d kB, values %d, reserved %d kB, allocated %d kB (%d bytes a value)",
		len(body)>>10, values, reserved>>10, allocated>>10, int(allocated)/values)
	require.LessOrEqual(t, allocated, uint64(reserved)+64<<10)
	out := &admissionv1.AdmissionReview{}
	require.NoError(t, json.Unmarshal(answer, out))
	return out
}

// allocatedBy returns the bytes that a call allocates, garbage included. No test runs beside it.
func allocatedBy(call func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	call()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

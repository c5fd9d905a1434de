package admission

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testImage = "registry.example/hypervisor-exporter:v1.2.3"

// bench is a handler with all that can be seen of it.
type bench struct {
	handler  *Handler
	registry *prometheus.Registry
	metrics  *Metrics
	log      *bytes.Buffer
}

func newBench(decide Decider) *bench {
	b := &bench{registry: prometheus.NewPedanticRegistry(), log: &bytes.Buffer{}}
	b.metrics = NewMetrics(b.registry)
	b.handler = NewHandler(decide, b.metrics, slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return b
}

func realDecision(pod *inject.Pod) inject.Decision {
	return inject.Decide(inject.Default(testImage), pod)
}

func (b *bench) post(body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, Path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return b.do(r)
}

func (b *bench) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

func (b *bench) counted(result, reason string) float64 {
	return testutil.ToFloat64(b.metrics.admissions.WithLabelValues(result, reason))
}

// problems is how often the problem was counted.
func (b *bench) problems(p Problem) float64 { return testutil.ToFloat64(b.metrics.of(p)) }

// errors are the admissions that the alert counts.
func (b *bench) errors() float64 {
	sum := 0.0
	for _, p := range Problems() {
		if !p.Rejected() {
			sum += b.problems(p)
		}
	}
	return sum
}

// review is what an API server sends for the creation of a pod.
func review(t testing.TB, pod []byte, change func(*admissionv1.AdmissionReview)) []byte {
	t.Helper()
	r := admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID:       "705ab4f5-6393-11e8-b7cc-42010a800002",
			Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
			Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
			Namespace: "vms",
			Operation: admissionv1.Create,
			Object:    runtime.RawExtension{Raw: pod},
		},
	}
	if change != nil {
		change(&r)
	}
	body, err := json.Marshal(r)
	require.NoError(t, err)
	return body
}

func response(t testing.TB, w *httptest.ResponseRecorder) *admissionv1.AdmissionReview {
	t.Helper()
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	out := &admissionv1.AdmissionReview{}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), out))
	require.NotNil(t, out.Response)
	require.True(t, out.Response.Allowed)
	return out
}

// readFixtures reads the inputs of package inject as JSON, once.
var readFixtures = sync.OnceValues(func() (map[string][]byte, error) {
	files, err := filepath.Glob("../inject/testdata/*.yaml")
	pods := map[string][]byte{}
	for _, file := range files {
		if strings.HasSuffix(file, ".golden.yaml") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if pods[filepath.Base(file)], _, err = inject.ReadPod(content); err != nil {
			return nil, err
		}
	}
	return pods, err
})

func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	pods, err := readFixtures()
	require.NoError(t, err)
	require.NotEmpty(t, pods)
	return pods
}

func virtLauncher(t testing.TB) []byte { return fixtures(t)["masq.yaml"] }

// TestHandlerDecidesAsTheCommandLine: for each input of package inject, the handler answers with the decision that
// inject.TestGolden shows.
func TestHandlerDecidesAsTheCommandLine(t *testing.T) {
	for name, podJSON := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			b := newBench(realDecision)
			pod, err := inject.ParsePod(podJSON)
			require.NoError(t, err)
			want := realDecision(pod)
			got := response(t, b.post(review(t, podJSON, nil)))

			require.Equal(t, "705ab4f5-6393-11e8-b7cc-42010a800002", string(got.Response.UID))
			require.Equal(t, "admission.k8s.io/v1", got.APIVersion)
			require.Equal(t, "AdmissionReview", got.Kind)
			require.Nil(t, got.Request)
			require.Equal(t, want.Warnings, got.Response.Warnings)
			if !want.Injected() {
				require.Nil(t, got.Response.Patch)
				require.Nil(t, got.Response.PatchType)
				require.InDelta(t, 1, b.counted("skipped", want.Reason.String()), 0)
				return
			}
			require.Equal(t, admissionv1.PatchTypeJSONPatch, *got.Response.PatchType)
			wantPatch, err := json.Marshal(want.Patch)
			require.NoError(t, err)
			require.JSONEq(t, string(wantPatch), string(got.Response.Patch))
			require.InDelta(t, 1, b.counted("injected", "injected"), 0)
			require.Contains(t, b.log.String(), `"level":"DEBUG"`)
			require.Contains(t, b.log.String(), `"reason":"injected"`)
		})
	}
}

// TestProblemsAllow: whatever goes wrong with a review, the answer is allowed, no patch, a warning; with a
// count and a log line.
func TestProblemsAllow(t *testing.T) {
	pod := virtLauncher(t)
	hanging := bytes.Replace(pod, []byte(`"cpu":"100m"`), []byte(`"cpu":"1e-2147483647"`), 1)
	require.NotEqual(t, pod, hanging)
	endless := []byte(`{"spec":{"containers":[{"securityContext":{"seLinuxOptions":{"level":"` + strings.Repeat("<", 5000) + `"}}}]}}`)
	for name, c := range map[string]struct {
		body   []byte
		decide Decider
		want   Problem
	}{
		"panic":              {review(t, pod, nil), func(*inject.Pod) inject.Decision { panic("boom") }, Panicked},
		"nil panic":          {review(t, pod, nil), func(*inject.Pod) inject.Decision { var p *inject.Pod; _ = p.Name; return inject.Decision{} }, Panicked},
		"pod of wrong types": {review(t, []byte(`{"spec":{"containers":7}}`), nil), realDecision, UnreadablePod},
		"pod is a list":      {review(t, []byte(`[]`), nil), realDecision, UnreadablePod},
		"no pod":             {review(t, nil, nil), realDecision, UnreadablePod},
		"v1beta1":            {review(t, pod, func(r *admissionv1.AdmissionReview) { r.APIVersion = "admission.k8s.io/v1beta1" }), realDecision, UnknownVersion},
		"unknown version":    {review(t, pod, func(r *admissionv1.AdmissionReview) { r.APIVersion = "admission.k8s.io/v7" }), realDecision, UnknownVersion},
		"no version":         {review(t, pod, func(r *admissionv1.AdmissionReview) { r.TypeMeta = metav1.TypeMeta{} }), realDecision, UnknownVersion},
		"unknown kind":       {review(t, pod, func(r *admissionv1.AdmissionReview) { r.Kind = "ConversionReview" }), realDecision, UnknownVersion},
		"update":             {review(t, pod, func(r *admissionv1.AdmissionReview) { r.Request.Operation = admissionv1.Update }), realDecision, NotAPodCreation},
		"subresource":        {review(t, pod, func(r *admissionv1.AdmissionReview) { r.Request.SubResource = "status" }), realDecision, NotAPodCreation},
		"another kind":       {review(t, pod, func(r *admissionv1.AdmissionReview) { r.Request.Kind.Kind = "Deployment" }), realDecision, NotAPodCreation},
		"unencodable patch": {review(t, pod, nil), func(*inject.Pod) inject.Decision {
			return inject.Decision{Reason: inject.Injected, Patch: []inject.Operation{{Value: func() {}}}}
		}, UnencodablePatch},
		"quantity that hangs":       {review(t, hanging, nil), realDecision, UnreadablePod},
		"endless SELinux level":     {review(t, endless, nil), realDecision, UnreadablePod},
		"wrong type beside the pod": {[]byte(`{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u","namespace":3}}`), realDecision, UnreadableReview},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(c.decide)
			sent := admissionv1.AdmissionReview{}
			_ = json.Unmarshal(c.body, &sent)
			got := response(t, b.post(c.body))
			require.Equal(t, sent.Request.UID, got.Response.UID)
			require.Equal(t, sent.TypeMeta, got.TypeMeta, "an API server requires its own version back")
			require.Nil(t, got.Response.Patch)
			require.Nil(t, got.Response.PatchType)
			require.Equal(t, []string{"hypervisor-exporter: " + c.want.Sentence()}, got.Response.Warnings)
			require.LessOrEqual(t, len(got.Response.Warnings[0]), 256)
			require.InDelta(t, 1, b.problems(c.want), 0)
			require.Equal(t, !c.want.Rejected(), b.errors() == 1, "only an error of ours is counted as one")
			require.Equal(t, 1, strings.Count(b.log.String(), "\n"))
			require.Contains(t, b.log.String(), `"level":"WARN"`)
			require.Contains(t, b.log.String(), `"reason":"`+c.want.String()+`"`)
			require.Equal(t, c.want == Panicked, testutil.ToFloat64(b.metrics.panics) == 1)
		})
	}
}

func TestRequestsThatAreNoReview(t *testing.T) {
	good := review(t, virtLauncher(t), nil)
	request := func(method, contentType string, body io.Reader) *http.Request {
		r := httptest.NewRequest(method, Path, body)
		r.Header.Set("Content-Type", contentType)
		return r
	}
	chunked := request(http.MethodPost, "application/json", bytes.NewReader(good))
	chunked.ContentLength = -1
	cut := request(http.MethodPost, "application/json", io.MultiReader(bytes.NewReader(good[:10]), broken{}))
	cut.ContentLength = int64(len(good))
	large := request(http.MethodPost, "application/json", broken{})
	large.ContentLength = maxBody + 1
	for name, c := range map[string]struct {
		request *http.Request
		want    Problem
		status  int
	}{
		"GET":             {request(http.MethodGet, "application/json", nil), WrongMethod, 405},
		"no content type": {request(http.MethodPost, "", bytes.NewReader(good)), WrongContentType, 415},
		"protobuf":        {request(http.MethodPost, "application/vnd.kubernetes.protobuf", bytes.NewReader(good)), WrongContentType, 415},
		"no length":       {chunked, UnknownLength, 411},
		"too large":       {large, TooLarge, 413},
		"closed early":    {cut, UnreadableBody, 400},
		"too many values": {request(http.MethodPost, "application/json", strings.NewReader("["+strings.Repeat("0,", maxValues))), TooComplex, 413},
		"too deep":        {request(http.MethodPost, "application/json", strings.NewReader(strings.Repeat("[", maxDepth+1))), TooComplex, 413},
		"endless uid":     {request(http.MethodPost, "application/json", strings.NewReader(`{"request":{"uid":"`+strings.Repeat("u", 129)+`"}}`)), NotAReview, 400},
		"not UTF-8":       {request(http.MethodPost, "application/json", strings.NewReader("{\"request\":{\"uid\":\"\xff\"}}")), NotAReview, 400},
		"empty":           {request(http.MethodPost, "application/json", strings.NewReader("")), NotAReview, 400},
		"no JSON":         {request(http.MethodPost, "application/json", strings.NewReader("{")), NotAReview, 400},
		"no request":      {request(http.MethodPost, "application/json", strings.NewReader(`{"kind":"AdmissionReview"}`)), NotAReview, 400},
		"no uid":          {request(http.MethodPost, "application/json", strings.NewReader(`{"request":{}}`)), NotAReview, 400},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(realDecision)
			w := b.do(c.request)
			require.Equal(t, c.status, w.Code)
			require.Contains(t, w.Body.String(), c.want.Sentence())
			require.Equal(t, "close", w.Header().Get("Connection"))
			require.InDelta(t, 1, b.problems(c.want), 0)
			require.Zero(t, b.errors(), "others than the API server must not fire the alert")
			require.Equal(t, 1, strings.Count(b.log.String(), "\n"))
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestManyAtOnce: reviews are answered concurrently, and none is lost.
func TestManyAtOnce(t *testing.T) {
	b := newBench(realDecision)
	b.handler.log = newOutcomeLog(slog.New(slog.DiscardHandler))
	var running sync.WaitGroup
	for range 200 {
		body := creation(t, ownedBy(uuid.NewUUID()), nil)
		running.Go(func() {
			if w := b.post(body); w.Code != http.StatusOK {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	running.Wait()
	require.InDelta(t, 200, b.counted("injected", "injected"), 0)
	require.Zero(t, testutil.ToFloat64(b.metrics.inFlight))
}

// TestDrain: while the handler drains, or for a dry run, the answer is the same; a draining handler
// also asks to close the connection.
func TestDrain(t *testing.T) {
	pod, dry := virtLauncher(t), true
	want := newBench(realDecision).post(review(t, pod, nil))
	require.NotNil(t, response(t, want).Response.Patch)
	require.Empty(t, want.Header().Get("Connection"))
	b := newBench(realDecision)
	got := b.post(review(t, pod, func(r *admissionv1.AdmissionReview) { r.Request.DryRun = &dry }))
	require.Equal(t, want.Body.String(), got.Body.String())
	require.Contains(t, b.log.String(), `"dry_run":true`)

	b.handler.Drain()
	got = b.post(review(t, pod, nil))
	require.Equal(t, "close", got.Header().Get("Connection"))
	require.Equal(t, want.Body.String(), got.Body.String())
}

func TestMetricsAreWellFormed(t *testing.T) {
	b := newBench(realDecision)
	problems, err := testutil.GatherAndLint(b.registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	series := testutil.CollectAndCount(b.metrics.admissions) + testutil.CollectAndCount(b.metrics.rejected)
	require.Equal(t, len(inject.Reasons())+len(Problems()), series, "all series are there from the start")
}

func TestProblemsHaveNamesAndSentences(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Problems() {
		require.NotEmpty(t, p.String())
		require.False(t, seen[p.String()], p.String())
		seen[p.String()] = true
		require.NotEmpty(t, p.Sentence())
	}
}

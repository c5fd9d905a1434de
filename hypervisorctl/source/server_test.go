package source

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// answer returns a server that answers every request with a status and a text, and the requests that it got.
func answer(t *testing.T, status int, write func(io.Writer)) (*Server, *[]string) {
	t.Helper()
	var asked []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		w.WriteHeader(status)
		write(w)
	}))
	t.Cleanup(web.Close)
	server, err := NewServer(web.URL+"/prefix/", http.DefaultClient)
	require.NoError(t, err)
	return server, &asked
}

func text(content string) func(io.Writer) {
	return func(w io.Writer) { _, _ = io.WriteString(w, content) }
}

func TestServerAnswers(t *testing.T) {
	server, asked := answer(t, 200, text(`{"status": "success", "warnings": [{"a": [1]}], "data": {"more": {"groups": []}, "groups": [
		{"name": "ours", "file": "x", "rules": [{"name": "r", "health": "err", "lastError": "e", "alerts": [{"labels": {}}]}]}, {"name": "theirs"}]}}`))
	groups, err := server.RuleGroups(t.Context(), []string{"ours", "other"})
	require.NoError(t, err)
	require.Equal(t, []RuleGroup{{Name: "ours", Rules: []Rule{{Name: "r", Health: "err", LastError: "e"}}}}, groups, "an old version sends all")
	require.Equal(t, []string{"/prefix/api/v1/rules?exclude_alerts=true&rule_group%5B%5D=ours&rule_group%5B%5D=other"}, *asked)

	server, _ = answer(t, 200, text(`{"status": "success", "data": {"activeTargets": [{"labels": {"job": "a"}, "health": "up"},
		{"labels": {"job": "a", "namespace": "other"}, "health": "down", "lastError": "other"},
		{"labels": {"job": "a"}, "health": "down", "scrapeUrl": "http://x", "lastError": "first"}, {"labels": {"job": "a"}, "health": "down", "lastError": "second"}], "droppedTargets": [{}]}}`))
	failures, err := server.Failures(t.Context(), func(labels map[string]string) bool { return labels["namespace"] != "other" })
	require.NoError(t, err)
	require.Equal(t, map[string]Failure{"a": {"http://x", "first"}}, failures)

	server, _ = answer(t, 200, text(`{"status": "success", "data": {"activeAlertmanagers": [{"url": "http://a"}], "droppedAlertmanagers": []}}`))
	managers, err := server.Alertmanagers(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"http://a"}, managers)

	server, asked = answer(t, 200, text(`{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"job": "a"}, "value": [1.5, "2"]}]}}`))
	samples, err := server.Query(t.Context(), `up{job="a"}`)
	require.NoError(t, err)
	require.Equal(t, []Sample{{map[string]string{"job": "a"}, [2]any{1.5, "2"}}}, samples)
	require.Equal(t, []string{"/prefix/api/v1/query?query=up%7Bjob%3D%22a%22%7D"}, *asked)
}

func TestServerAnswersBadly(t *testing.T) {
	tests := map[string]struct {
		status int
		write  func(io.Writer)
		want   string
	}{
		"no such API":      {404, text("404 page not found"), ErrNoAPI.Error()},
		"its own reason":   {422, text(`{"status": "error", "errorType": "execution", "error": "query timed out"}`), "Prometheus answers 422 Unprocessable Entity to query: query timed out"},
		"no access":        {403, text("<html>forbidden</html>"), "Prometheus answers 403 Forbidden to query"},
		"a page to log in": {200, text("<html>log in</html>"), "the answer of query is not Prometheus'"},
		"cut":              {200, text(`{"status": "success", "data": {"result": [{"metric": {}`), "the answer of query is not Prometheus'"},
		"another form":     {200, text(`{"data": []}`), "[ where there should be {"},
		"a scalar":         {200, text(`{"data": {"result": "x"}}`), "x where there should be ["},
		"another element":  {200, text(`{"data": {"result": [7]}}`), "cannot unmarshal number"},
		"without an end": {200, func(w io.Writer) {
			_, err := io.WriteString(w, `{"data": {"result": [{}`)
			for element := `,{"a":"` + strings.Repeat("x", 1<<20) + `"}`; err == nil; {
				_, err = io.WriteString(w, element)
			}
		}, fmt.Sprintf("the answer of query has more than %d bytes", largestAnswer)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server, _ := answer(t, test.status, test.write)
			err := each(t.Context(), server, "query", nil, []string{"data", "result"}, func(struct{}) {})
			require.ErrorContains(t, err, test.want)
		})
	}
	for _, empty := range []string{`{"data": {"result": null}}`, `{"data": null}`, `{"data": {}}`, `{}`, `null`} {
		server, _ := answer(t, 200, text(empty))
		samples, err := server.Query(t.Context(), "up")
		require.NoError(t, err, empty)
		require.Empty(t, samples)
	}
	for _, address := range []string{"", "prometheus", "http://", "http://a b", ":"} {
		_, err := NewServer(address, http.DefaultClient)
		require.ErrorContains(t, err, "--prometheus-url "+address)
	}
}

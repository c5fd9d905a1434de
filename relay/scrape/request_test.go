package scrape

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimeout(t *testing.T) {
	const most = 10 * time.Second
	for seconds, want := range map[string]time.Duration{
		"":      9500 * time.Millisecond,
		"15":    9500 * time.Millisecond,
		"10":    9500 * time.Millisecond,
		"5":     4500 * time.Millisecond,
		"1":     900 * time.Millisecond,
		"0.01":  9 * time.Millisecond,
		"0":     9500 * time.Millisecond,
		"-1":    9500 * time.Millisecond,
		"NaN":   9500 * time.Millisecond,
		"Inf":   9500 * time.Millisecond,
		"-Inf":  9500 * time.Millisecond,
		"1e308": 9500 * time.Millisecond,
		"ten":   9500 * time.Millisecond,
	} {
		require.Equal(t, want, timeout(seconds, most), "%q", seconds)
	}
}

// TestOnlyThreeHeadersPass: what reaches the pod of a request, to the byte.
func TestOnlyThreeHeadersPass(t *testing.T) {
	var sent bytes.Buffer
	require.NoError(t, newRequest(http.Header{
		"Accept":          {"text/plain;version=0.0.4", "*/*;q=0.1"},
		"Accept-Encoding": {"gzip"},
		timeoutHeader:     {"5"},
		"Authorization":   {"Bearer secret"},
		"Cookie":          {"secret"},
		"X-Forwarded-For": {"10.0.0.1"},
		"Connection":      {"upgrade"},
		"Upgrade":         {"h2c"},
		"User-Agent":      {"Prometheus/3.5.0"},
	}, 10*time.Second).write(&sent))
	require.Equal(t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+
		"Accept: text/plain;version=0.0.4,*/*;q=0.1\r\nAccept-Encoding: gzip\r\n"+
		"X-Prometheus-Scrape-Timeout-Seconds: 4.5\r\n\r\n", sent.String())

	sent.Reset()
	require.NoError(t, newRequest(http.Header{}, time.Second).write(&sent))
	require.Equal(t, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+
		"X-Prometheus-Scrape-Timeout-Seconds: 0.9\r\n\r\n", sent.String())
}

// TestAcceptable: what does not pass on the way back is not asked for.
func TestAcceptable(t *testing.T) {
	for accept, want := range map[string]string{
		"": "",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7, text/plain;version=0.0.4;q=0.3,*/*;q=0.2": "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,Text/Plain;version=1.0.0":                                             "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,Text/Plain;version=1.0.0",
		"text/html": "",
		",;,":       "",
	} {
		require.Equal(t, want, acceptable([]string{accept}))
	}
	require.Equal(t, "text/plain,*/*", acceptable([]string{"text/plain", "text/html,*/*"}))
}

const someUID = "de0d9c32-29da-4e4a-97da-26f918ca12d6"

func TestParsePath(t *testing.T) {
	uid, ok := ParsePath("/pods/" + someUID + "/metrics")
	require.True(t, ok)
	require.EqualValues(t, someUID, uid)
	for _, bad := range []string{
		"", "/", "/metrics", "/pods/metrics", "/pods//metrics", "/pods/" + someUID, "/pods/" + someUID + "/metrics/",
		"/pods/" + someUID + "/metrics/../metrics", "/pods/./" + someUID + "/metrics", "//pods/" + someUID + "/metrics",
		"/pods/../pods/" + someUID + "/metrics", "/pods/" + someUID + "%2fmetrics", "/pods/%64" + someUID[1:] + "/metrics",
		"/pods/" + strings.ToUpper(someUID) + "/metrics", "/pods/" + someUID + "/Metrics", "/pods/" + someUID + "/a/metrics",
	} {
		_, ok := ParsePath(bad)
		require.False(t, ok, "%q", bad)
	}
}

// FuzzPath: what is accepted as a uid is one path component, and the only spelling of it.
func FuzzPath(f *testing.F) {
	f.Add("/pods/" + someUID + "/metrics")
	f.Add("/pods/../" + someUID + "/metrics")
	f.Fuzz(func(t *testing.T, target string) {
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		uid, ok := ParsePath(parsed.EscapedPath())
		if !ok {
			return
		}
		require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, uid)
		require.Equal(t, "/pods/"+string(uid)+"/metrics", parsed.EscapedPath())
	})
}

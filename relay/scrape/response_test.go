package scrape

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	classic = "Content-Type: text/plain; version=0.0.4\r\n"
	start   = "HTTP/1.1 200 OK\r\n"
)

// TestResponses: what passes of a pod's answer, and why the rest does not.
func TestResponses(t *testing.T) {
	const most = 10
	for _, c := range []struct {
		name, response string
		want           head
		page           string
		result         Result
	}{
		{"classic", start + classic + "Content-Length: 4\r\n\r\na 1\n", head{"text/plain; version=0.0.4", "", 4}, "a 1\n", OK},
		{"as the sidecar writes it", start + "Content-Type: text/plain; version=0.0.4; charset=utf-8; escaping=underscores\r\nContent-Length: 0\r\n\r\n",
			head{"text/plain; charset=utf-8; escaping=underscores; version=0.0.4", "", 0}, "", OK},
		{"OpenMetrics", start + "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: 0\r\n\r\n",
			head{"application/openmetrics-text; charset=utf-8; version=1.0.0", "", 0}, "", OK},
		{"gzip", start + classic + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", head{"text/plain; version=0.0.4", "gzip", 2}, "\x1f\x8b", OK},
		{"chunks", start + classic + "Transfer-Encoding: chunked\r\n\r\n2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n", head{"text/plain; version=0.0.4", "", -1}, "a 1\n", OK},
		{"trailers do not pass", start + classic + "Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\na \r\n0\r\nX: y\r\n\r\n", head{"text/plain; version=0.0.4", "", -1}, "a ", OK},
		{"a page as large as allowed", start + classic + "Content-Length: 10\r\n\r\n0123456789", head{"text/plain; version=0.0.4", "", 10}, "0123456789", OK},
		{"chunks as large as allowed", start + classic + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", head{"text/plain; version=0.0.4", "", -1}, "0123456789", OK},

		{"a page too large", start + classic + "Content-Length: 11\r\n\r\n0123456789a", head{}, "", TooLarge},
		{"chunks too large", start + classic + "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n", head{}, "", TooLarge},
		{"a page cut off", start + classic + "Content-Length: 4\r\n\r\na 1", head{}, "", CutOff},
		{"chunks cut off", start + classic + "Transfer-Encoding: chunked\r\n\r\n2\r\na \r\n", head{}, "", CutOff},
		{"a chunk cut off", start + classic + "Transfer-Encoding: chunked\r\n\r\n4\r\na", head{}, "", CutOff},
		{"a chunk without a length", start + classic + "Transfer-Encoding: chunked\r\n\r\nx\r\n", head{}, "", CutOff},
		{"no answer", "", head{}, "", CutOff},
		{"half a head", start + classic, head{}, "", CutOff},

		{"no length", start + classic + "\r\na 1\n", head{}, "", Malformed},
		{"two lengths", start + classic + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", head{}, "", Malformed},
		{"a negative length", start + classic + "Content-Length: -1\r\n\r\nab", head{}, "", Malformed},
		{"another transfer encoding", start + classic + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", head{}, "", Malformed},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\n" + classic + "Content-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"HTTP/2.0", "HTTP/2.0 200 OK\r\n" + classic + "Content-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"not HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", head{}, "", Malformed},
		{"no status", "HTTP/1.1\r\n\r\n", head{}, "", Malformed},
		{"an endless head", start + "A: " + strings.Repeat("a", 2*maxHead), head{}, "", Malformed},
		{"endless headers", start + strings.Repeat("A: b\r\n", maxHead), head{}, "", Malformed},
		{"1xx", "HTTP/1.1 103 Early Hints\r\n\r\n" + start + classic + "Content-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"an upgrade", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", head{}, "", Malformed},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", head{}, "", Malformed},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", head{}, "", Status},
		{"no type", start + "Content-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"two types", start + classic + classic + "Content-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"HTML", start + "Content-Type: text/html\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"plain text of no version", start + "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"protobuf", start + "Content-Type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"an unknown parameter", start + "Content-Type: text/plain; version=0.0.4; x=y\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"another charset", start + "Content-Type: text/plain; version=0.0.4; charset=utf-7\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"another encoding", start + classic + "Content-Encoding: zstd\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"two encodings", start + classic + "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
		{"an error of its own", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", head{}, "", Status},
		{"an unknown status", "HTTP/1.1 600 Oops\r\nContent-Length: 0\r\n\r\n", head{}, "", Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			from := strings.NewReader(c.response)
			got, page, end := readHead(from, most)
			require.LessOrEqual(t, len(c.response)-from.Len(), maxHead, "no more is read of an endless head")
			if end == nil {
				content, err := io.ReadAll(page)
				if c.result == OK {
					require.NoError(t, err)
					require.Equal(t, c.want, got)
					require.Equal(t, c.page, string(content))
					return
				}
				require.ErrorAs(t, err, &end)
			}
			require.Equal(t, c.result, end.result, "%v", end)
			require.Less(t, len(end.Error()), 400, "an error quotes little of foreign input")
		})
	}
}

// FuzzResponse feeds a pod's answer. What passes is one of a few heads, and a page
// within the bound and as long as was promised.
func FuzzResponse(f *testing.F) {
	f.Add([]byte(start + classic + "Content-Length: 4\r\n\r\na 1\n"))
	f.Add([]byte(start + classic + "Transfer-Encoding: chunked\r\n\r\n2\r\na \r\n0\r\nX: y\r\n\r\n"))
	f.Fuzz(func(t *testing.T, response []byte) {
		const most = 64
		h, page, end := readHead(strings.NewReader(string(response)), most)
		if end != nil {
			require.Contains(t, []Result{Malformed, CutOff, Status, TooLarge}, end.result)
			require.Equal(t, http.StatusBadGateway, end.result.Code(), "whatever the pod answers")
			require.Less(t, len(end.sentence()), 100)
			return
		}
		content, err := io.ReadAll(page)
		require.LessOrEqual(t, len(content), most)
		if err == nil && h.length >= 0 {
			require.EqualValues(t, h.length, len(content))
		}
		require.Contains(t, []string{"", "gzip"}, h.encoding)
		require.Regexp(t, `^(text/plain|application/openmetrics-text)(; (charset=utf-8|escaping=[a-z0-9-]+|version=[0-9.]+))+$`, h.contentType)
		header := http.Header{}
		h.write(header)
		require.NoError(t, header.Write(io.Discard))
		require.LessOrEqual(t, len(header), 3)
	})
}

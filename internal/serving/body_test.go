package serving

import (
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestABodyThatIsNotDue is answered at once: all timeouts of the server are longer than
// the test waits.
func TestABodyThatIsNotDue(t *testing.T) {
	address := run(t, testConfig(), http.HandlerFunc(ok))
	for name, header := range map[string]string{
		"a length":                "Content-Length: 1\r\n\r\n",
		"a length and the body":   "Content-Length: 1\r\n\r\nx",
		"a large length":          "Content-Length: 99999999\r\n\r\n",
		"chunks":                  "Transfer-Encoding: chunked\r\n\r\n",
		"a part of a chunk":       "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
		"a body that is asked of": "Content-Length: 1\r\nExpect: 100-continue\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			code, closes := response(t, dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n"+header))
			require.Equal(t, http.StatusBadRequest, code)
			require.True(t, closes)
		})
	}
	code, closes := response(t, dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"))
	require.Equal(t, http.StatusOK, code)
	require.False(t, closes)
}

// TestABodyThatIsDue keeps the connection where it was read, and ends it where it was not.
func TestABodyThatIsDue(t *testing.T) {
	config := testConfig()
	config.BodyDue = func(r *http.Request) bool { return r.Method == http.MethodPost }
	address := run(t, config, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/read":
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
		case "/exact":
			if _, err := io.ReadFull(r.Body, make([]byte, r.ContentLength)); err != nil {
				return
			}
		}
		_, _ = io.WriteString(w, "ok")
	}))
	for _, c := range []struct {
		path, body string
		closes     bool
	}{
		{"/read", "Content-Length: 3\r\n\r\nabc", false},
		{"/exact", "Content-Length: 3\r\n\r\nabc", false},
		{"/read", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
		{"/unread", "Content-Length: 3\r\n\r\n", true},
	} {
		code, closes := response(t, dial(t, address, "POST "+c.path+" HTTP/1.1\r\nHost: x\r\n"+c.body))
		require.Equal(t, http.StatusOK, code)
		require.Equal(t, c.closes, closes, "%s %q", c.path, c.body)
	}
}

// TestABodyIsWaitedForWithoutAPlace: a handler that waits for a body does not hold a
// place against another address; one that works does.
func TestABodyIsWaitedForWithoutAPlace(t *testing.T) {
	config := testConfig()
	config.Limits = Limits{Connections: 2}
	config.BodyDue = func(*http.Request) bool { return true }
	release := make(chan struct{})
	var reading, working, failed atomic.Int32
	address := run(t, config, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			working.Add(1)
			<-release
			return
		}
		reading.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			failed.Add(1)
		}
	}))
	defer close(release)
	dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na")
	require.Eventually(t, func() bool { return reading.Load() == 1 }, patience, time.Millisecond)
	dial(t, address, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Eventually(t, func() bool { return working.Load() == 1 }, patience, time.Millisecond)

	other := dialFrom(t, "127.0.0.2", address)
	_, err := io.WriteString(other, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return working.Load() == 2 && failed.Load() == 1 }, patience, time.Millisecond)

	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.3")}}
	refused, err := dialer.Dial("tcp", address)
	if err == nil { // it may be closed before Dial returns
		defer func() { _ = refused.Close() }()
		require.NoError(t, refused.SetDeadline(time.Now().Add(patience)))
		_, err = refused.Read(make([]byte, 1))
	}
	require.Error(t, err, "all are busy")
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

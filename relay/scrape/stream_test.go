package scrape_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPassedOnAsItComes: no page is held back until it is whole. This pod goes on
// with its page only when the scraper has some of it.
func TestPassedOnAsItComes(t *testing.T) {
	w := newWorld(t, nil)
	half := strings.Repeat("a 1\n", 4<<10) // more than the buffers on the way hold
	arrived := make(chan struct{})
	pod := w.pod(t, func(conn net.Conn) {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n%s", 2*len(half), half)
		select {
		case <-arrived:
			_, _ = io.WriteString(conn, half)
		case <-t.Context().Done():
		}
	})
	response, err := w.client.Get(w.url + "/pods/" + string(pod.UID) + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	first := make([]byte, len(half)/2)
	_, err = io.ReadFull(response.Body, first)
	require.NoError(t, err)
	close(arrived)
	rest, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, half+half, string(first)+string(rest))
}

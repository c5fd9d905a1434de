package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// An API server that is away is told of once, not at each try.
func TestWatchFailsOnce(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	var log bytes.Buffer
	c, err := New(&rest.Config{Host: "http://" + address}, Names{WebhookConfiguration: "ours"}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	tries := 0
	c.Watch(ctx, func() {
		if tries++; tries == 3 {
			stop()
		}
	})
	require.Equal(t, 3, tries)
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
}

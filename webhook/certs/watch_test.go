package certs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
)

// unreachable is an API server that does not answer.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

// An unreachable API server is logged once, not at each try.
func TestWatchFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		config := &rest.Config{Host: "http://api", Transport: unreachable{}}
		store, err := NewKubeStore(config, Names{WebhookConfiguration: "ours"}, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		tries := 0
		store.Watch(ctx, func() {
			if tries++; tries == 3 {
				stop()
			}
		})
		require.Equal(t, 3, tries)
		require.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
	})
}

func TestFollowReadsEvents(t *testing.T) {
	for name, c := range map[string]struct {
		stream  string
		changes int
		err     string
	}{
		"two events":   {`{"type":"ADDED","object":{}}{"type":"MODIFIED","object":{}}`, 2, ""},
		"the end":      {``, 0, ""},
		"error":        {`{"type":"ADDED"}{"type":"ERROR","object":{"code":410}}`, 1, "410"},
		"cut off":      {`{"type":"ADDED"}{"ty`, 1, "unexpected EOF"},
		"not an event": {`nonsense`, 0, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			changes := 0
			err := follow(strings.NewReader(c.stream), func() { changes++ })
			require.Equal(t, c.changes, changes)
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}

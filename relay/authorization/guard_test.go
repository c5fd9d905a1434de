package authorization

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

type fixed struct {
	decision Decision
	err      error
}

func (f fixed) Review(context.Context, string, string) (Decision, error) { return f.decision, f.err }

func TestGuard(t *testing.T) {
	for _, c := range []struct {
		name     string
		reviewer fixed
		header   http.Header
		plain    bool
		code     int
		decision string
	}{
		{"allowed", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer t"}}, false, 200, "allowed"},
		{"allowed, scheme in lower case", fixed{Allowed, nil}, http.Header{"Authorization": {"bearer t"}}, false, 200, "allowed"},
		{"lacks the right", fixed{Forbidden, nil}, http.Header{"Authorization": {"Bearer t"}}, false, 403, "forbidden"},
		{"unknown token", fixed{Unauthenticated, nil}, http.Header{"Authorization": {"Bearer t"}}, false, 401, "unauthenticated"},
		{"no API server", fixed{Unavailable, errors.New("down")}, http.Header{"Authorization": {"Bearer t"}}, false, 503, "unavailable"},
		{"no token", fixed{Allowed, nil}, http.Header{}, false, 401, "unauthenticated"},
		{"an empty token", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer "}}, false, 401, "unauthenticated"},
		{"two tokens", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer t", "Bearer u"}}, false, 401, "unauthenticated"},
		{"two tokens in one", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer t, Bearer u"}}, false, 401, "unauthenticated"},
		{"a token as long as may be", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer " + strings.Repeat("t", maxToken)}}, false, 200, "allowed"},
		{"a longer token", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer " + strings.Repeat("t", maxToken+1)}}, false, 401, "unauthenticated"},
		{"a password", fixed{Allowed, nil}, http.Header{"Authorization": {"Basic dDp0"}}, false, 401, "unauthenticated"},
		{"without TLS", fixed{Allowed, nil}, http.Header{"Authorization": {"Bearer t"}}, true, 401, "unauthenticated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			guard := NewGuard(NewCache(c.reviewer, time.Now, slog.New(slog.DiscardHandler)), registry)
			reached := false
			handler := guard.Protect("/p", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.Header = c.header
			if !c.plain {
				request.TLS = &tls.ConnectionState{}
			}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			require.Equal(t, c.code, recorder.Code)
			require.Equal(t, c.code == 200, reached)
			require.Equal(t, c.code == 401, recorder.Header().Get("WWW-Authenticate") == "Bearer")
			require.EqualValues(t, 1, testutil.ToFloat64(guard.decisions.MustCurryWith(prometheus.Labels{"decision": c.decision})))
		})
	}
}

// TestGuardIsBusy: what exceeds the places for unknown tokens of one address gets 429, and is counted apart.
func TestGuardIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &oracle{takes: time.Second}
		guard := NewGuard(NewCache(o, time.Now, slog.New(slog.DiscardHandler)), prometheus.NewRegistry())
		handler := guard.Protect("/p", http.NotFoundHandler())
		ask := func(token string) *httptest.ResponseRecorder {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.TLS = &tls.ConnectionState{}
			request.Header.Set("Authorization", "Bearer "+token)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			return recorder
		}
		var all sync.WaitGroup
		defer all.Wait()
		for i := range strangersPerSource {
			all.Go(func() { ask(strconv.Itoa(i)) })
		}
		synctest.Wait()
		answer := ask("one-more")
		require.Equal(t, http.StatusTooManyRequests, answer.Code)
		require.NotEmpty(t, answer.Header().Get("Retry-After"))
		require.EqualValues(t, 1, testutil.ToFloat64(guard.decisions.WithLabelValues("busy", "apiserver")))
	})
}

// TestSource: the ports of one address are one source.
func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:5000": "10.0.0.1", "[fd00::1]:5000": "fd00::1", "[fe80::1%eth0]:5000": "fe80::1%eth0", "@": "@", "": "",
	} {
		require.Equal(t, want, source(&http.Request{RemoteAddr: remote}), remote)
	}
}

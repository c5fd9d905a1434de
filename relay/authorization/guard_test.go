package authorization

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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

// TestGuardIsBusy: what exceeds the places for unknown tokens of one host gets 429, and is counted apart. A host may have
// a whole /64 of IPv6 addresses.
func TestGuardIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fakeAPI{takes: time.Second}
		guard := NewGuard(NewCache(api, time.Now, slog.New(slog.DiscardHandler)), prometheus.NewRegistry())
		handler := guard.Protect("/p", http.NotFoundHandler())
		ask := func(remote, token string) *httptest.ResponseRecorder {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			request.RemoteAddr = remote
			request.TLS = &tls.ConnectionState{}
			request.Header.Set("Authorization", "Bearer "+token)
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, request)
			return recorder
		}
		var all sync.WaitGroup
		defer all.Wait()
		for i := range unknownPerSource {
			all.Go(func() { ask(fmt.Sprintf("[2001:db8::%d]:5000", i), strconv.Itoa(i)) })
		}
		synctest.Wait()
		answer := ask("[2001:db8::ffff]:5000", "one-more")
		require.Equal(t, http.StatusTooManyRequests, answer.Code)
		require.NotEmpty(t, answer.Header().Get("Retry-After"))
		require.EqualValues(t, 1, testutil.ToFloat64(guard.decisions.WithLabelValues("busy", "apiserver")))
		require.NotEqual(t, http.StatusTooManyRequests, ask("[2001:db8:0:1::1]:5000", "another-host").Code)
	})
}

package authorization

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"kubevirt-hypervisor-exporter/internal/serving"
)

// A Guard lets requests through whose token may get a path.
type Guard struct {
	cache     *Cache
	decisions *prometheus.CounterVec
}

// NewGuard registers its metric.
func NewGuard(cache *Cache, registry prometheus.Registerer) *Guard {
	g := &Guard{cache: cache, decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "hypervisor_exporter_relay_authorizations_total",
		Help: "Decisions on requests, and where they came from: cache, apiserver, or stale (known, and the API server does not answer).",
	}, []string{"decision", "origin"})}
	registry.MustRegister(g.decisions)
	return g
}

// Protect puts next behind the right to get path. The request's own path
// does not matter: a right to one path is one answer to remember.
func (g *Guard) Protect(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		decision, origin := g.decide(r, path)
		g.decisions.WithLabelValues(decision.String(), origin.String()).Inc()
		if decision == Allowed {
			next.ServeHTTP(w, r)
			return
		}
		text := decisions[decision].text
		switch decision {
		case Unauthenticated:
			w.Header().Set("WWW-Authenticate", "Bearer")
		case Forbidden:
			text += path
		case Busy:
			w.Header().Set("Retry-After", "5")
		case Unavailable, Allowed:
		}
		http.Error(w, text, decision.Code())
	})
}

func (g *Guard) decide(r *http.Request, path string) (Decision, Origin) {
	token := bearer(r.Header)
	// Without TLS anyone on the way has the token, so it must not work.
	if token == "" || r.TLS == nil {
		return Unauthenticated, Cached
	}
	return g.cache.Decide(r.Context(), serving.Source(r).String(), token, path)
}

// maxToken bounds a token, in bytes. One of a service account has 1 kB; of an OpenID Connect provider, with a
// user's groups, several.
const maxToken = 8 << 10

// bearer returns the token (RFC 6750, section 2.1), or "" unless there is exactly
// one, not longer than maxToken.
func bearer(header http.Header) string {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || strings.ContainsAny(token, " ,") || len(token) > maxToken {
		return ""
	}
	return token
}

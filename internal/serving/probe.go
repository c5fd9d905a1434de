package serving

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// probeTime bounds a check. The kubelet waits for one second.
const probeTime = time.Second

// Probe answers 200 where check returns nil, or is nil itself, and otherwise 503 with the
// error.
func Probe(check func(context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if check != nil {
			ctx, cancel := context.WithTimeout(r.Context(), probeTime)
			defer cancel()
			if err := check(ctx); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = fmt.Fprintln(w, "ok") // the client may have gone
	})
}

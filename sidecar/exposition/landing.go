package exposition

import (
	"fmt"
	"html"
	"net/http"

	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// landing shows the VMI and its type to whoever opens the port in a browser. It is
// made anew for each visitor, as what it shows changes.
func landing(config Config) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := momentOf(config.Source, config.Now())
		page, err := web.NewLandingPage(web.LandingConfig{
			Name:        "KubeVirt hypervisor exporter",
			Description: describe(now.snapshot, now.view),
			Version:     version.Info(),
			Profiling:   "false",
			Links: []web.LandingLinks{
				{Address: config.TelemetryPath, Text: "Metrics"},
				{Address: "/healthz", Text: "Health", Description: "the process serves"},
				{Address: "/readyz", Text: "Readiness", Description: "identity valid, listeners up"},
			},
		})
		if err != nil {
			http.Error(w, fmt.Sprintf("landing page: %v", err), http.StatusInternalServerError)
			return
		}
		page.ServeHTTP(w, r)
	}
}

// describe says in one line, escaped for HTML, what is known of the VMI.
func describe(s *hypervisor.Snapshot, view hypervisor.View) string {
	id := s.Identity
	switch {
	case !id.Valid():
		return "The VMI's identity is missing or invalid: no VMI is shown."
	case !view.Present:
		return html.EscapeString(fmt.Sprintf("VMI %s/%s does not run on node %s.", id.Namespace, id.Name, id.Node))
	default:
		return html.EscapeString(fmt.Sprintf("VMI %s/%s runs on node %s, hypervisor %s.", id.Namespace, id.Name, id.Node, view.Type))
	}
}

package exposition

import (
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

func TestPages(t *testing.T) {
	kvm := running(shopWeb, domainXML("kvm"))
	for _, test := range []struct {
		name     string
		snapshot hypervisor.Snapshot
		ready    bool
		path     string
		code     int
		says     string
	}{
		{"landing page of a running VMI", kvm, true, "/", 200, "VMI shop/web runs on node node-1, hypervisor kvm."},
		{"landing page of none", start(shopWeb), true, "/", 200, "VMI shop/web does not run on node node-1."},
		{"landing page without identity", start(hypervisor.Identity{}), true, "/", 200, "identity is missing or invalid"},
		{"landing page links", kvm, true, "/", 200, `href="/metrics"`},
		{"no other page", kvm, true, "/other", 404, "not found"},
		{"health", start(hypervisor.Identity{}), false, "/healthz", 200, "ok"},
		{"ready", start(shopWeb), true, "/readyz", 200, "ok"},
		{"not ready: identity", start(hypervisor.Identity{}), true, "/readyz", 503, "identity"},
		{"not ready: listener", start(shopWeb), false, "/readyz", 503, "listener"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := NewHandler(Config{
				Source: fixed(test.snapshot), Now: func() time.Time { return t0 }, Ready: func() bool { return test.ready },
				TelemetryPath: "/metrics", Logger: promslog.NewNopLogger(),
			})
			response := get(h, test.path, "")
			require.Equal(t, test.code, response.Code)
			require.Contains(t, response.Body.String(), test.says)
		})
	}
	post, err := http.NewRequest(http.MethodPost, "/metrics", nil)
	require.NoError(t, err)
	_, pattern := handler(kvm, t0).(*http.ServeMux).Handler(post)
	require.Empty(t, pattern, "nothing takes a POST")
}

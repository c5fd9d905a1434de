package exposition

import (
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	shopWeb = hypervisor.Identity{Namespace: "shop", Name: "web", Node: "node-1"}
	t0      = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

const (
	grace    = 30 * time.Second
	accepted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
)

// fixed is a Source that knows one snapshot.
type fixed hypervisor.Snapshot

func (f fixed) Snapshot() *hypervisor.Snapshot { s := hypervisor.Snapshot(f); return &s }

// HeardAt is when each of the snapshots here was current: libvirt answered at t0.
func (f fixed) HeardAt() time.Time { return t0 }

func start(id hypervisor.Identity) hypervisor.Snapshot { return hypervisor.Start(id, grace, t0) }

// running is a snapshot of a running VMI whose domain has this XML.
func running(id hypervisor.Identity, xml string) hypervisor.Snapshot {
	s := start(id).AfterConnect(hypervisor.Versions{Hypervisor: "7.2.22", Libvirt: "9.0.0"})
	return s.AfterObservation(observed(id, libvirt.DomainRunning, int32(libvirt.DomainRunningBooted), xml), t0, t0.Add(1500*time.Millisecond))
}

func observed(id hypervisor.Identity, state libvirt.DomainState, reason int32, xml string) hypervisor.Observation {
	return hypervisor.Observation{Domains: []hypervisor.Domain{{
		Name: id.DomainName(), State: hypervisor.State{State: state, Reason: reason}, Description: hypervisor.Describe(strings.NewReader(xml)),
	}}}
}

// windowsXML is of a VM that is slow for several reasons.
const windowsXML = `<domain type="kvm"><memoryBacking><hugepages><page size="2048" unit="KiB"/></hugepages></memoryBacking>
<os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os><features><hyperv mode="custom"><relaxed state="on"/></hyperv></features>
<cpu mode="custom"><model fallback="forbid">Skylake-Server-IBRS</model></cpu>
<devices><disk device="disk"><target dev="sda" bus="sata"/></disk><interface type="ethernet"><model type="e1000e"/></interface></devices></domain>`

func domainXML(kind string) string {
	return fmt.Sprintf(`<domain type=%q><os><type arch="x86_64" machine="pc-q35-7.2">hvm</type></os></domain>`, kind)
}

func handler(s hypervisor.Snapshot, now time.Time) http.Handler {
	return NewHandler(Config{
		Source: fixed(s), Now: func() time.Time { return now }, Ready: func() bool { return true }, Logger: slog.New(slog.DiscardHandler),
	})
}

func get(h http.Handler, path, accept string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, path, nil)
	request.Header.Set("Accept", accept)
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

// metricsPage is what a scrape gets, without build_info: that is of the build.
func metricsPage(t *testing.T, h http.Handler, accept string) string {
	response := get(h, "/metrics", accept)
	require.Equal(t, http.StatusOK, response.Code, response.Body)
	format := "text/plain; version=0.0.4"
	if accept != "" {
		format = "application/openmetrics-text; version=1.0.0"
	}
	require.Contains(t, response.Header().Get("Content-Type"), format)
	var page strings.Builder
	for line := range strings.Lines(response.Body.String()) {
		if !strings.Contains(line, "hypervisor_exporter_build") {
			page.WriteString(line)
		}
	}
	return page.String()
}

func TestExposition(t *testing.T) {
	kvm := running(shopWeb, domainXML("kvm"))
	lost := kvm.AfterLoss(fmt.Errorf("gone"))
	longest := hypervisor.Identity{Namespace: strings.Repeat("n", 63), Name: strings.Repeat("v", 253), Node: strings.Repeat("h", 253)}
	for name, test := range map[string]struct {
		snapshot hypervisor.Snapshot
		at       time.Duration
	}{
		"start":           {snapshot: start(shopWeb)},
		"no-identity":     {snapshot: running(hypervisor.Identity{}, domainXML("kvm"))},
		"kvm":             {snapshot: kvm.AfterControl(hypervisor.DomainID{}, &hypervisor.Control{})},
		"occupied":        {snapshot: kvm.AfterControl(hypervisor.DomainID{}, &hypervisor.Control{State: hypervisor.ControlOccupied, Lasted: 312_400 * time.Millisecond})},
		"facts":           {snapshot: running(shopWeb, windowsXML)},
		"paused":          {snapshot: kvm.AfterObservation(observed(shopWeb, libvirt.DomainPaused, int32(libvirt.DomainPausedIoerror), domainXML("kvm")), t0, t0)},
		"shut-off":        {snapshot: kvm.AfterObservation(observed(shopWeb, libvirt.DomainShutoff, int32(libvirt.DomainShutoffFailed), domainXML("kvm")), t0, t0)},
		"qemu-tcg":        {snapshot: running(shopWeb, domainXML("qemu"))},
		"hyperv":          {snapshot: running(shopWeb, domainXML("hyperv"))},
		"unparsable":      {snapshot: running(shopWeb, "<domain")},
		"hostile-machine": {snapshot: running(shopWeb, `<domain type="a&quot;} 1&#10;up 0"/>`)},
		"longest-names":   {snapshot: running(longest, domainXML("kvm"))},
		"gone":            {snapshot: kvm.AfterObservation(hypervisor.Observation{}, t0, t0.Add(time.Hour))},
		"lost":            {snapshot: lost, at: grace - time.Second},
		"lost-for-long":   {snapshot: lost, at: grace},
		"stuck":           {snapshot: kvm, at: grace},
		"too-large":       {snapshot: running(shopWeb, `<domain type="kvm">`+strings.Repeat("<a>", 200))},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(test.snapshot, t0.Add(test.at))
			for suffix, accept := range map[string]string{".txt": "", ".openmetrics": accepted} {
				golden(t, "testdata/"+name+suffix, metricsPage(t, h, accept))
			}
		})
	}
}

// TestFewSeries: what one VM costs, ten thousand times. The names follow Prometheus' conventions.
func TestFewSeries(t *testing.T) {
	all := running(shopWeb, domainXML("kvm")).AfterControl(hypervisor.DomainID{}, &hypervisor.Control{})
	page := get(handler(all, t0), "/metrics", "").Body.String()
	series := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	require.LessOrEqual(t, series, 10, page)
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "write it with go test -update")
	require.Equal(t, string(want), got, "%s is stale; write it with go test -update", path)
}

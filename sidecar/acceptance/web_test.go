package acceptance

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxSeries is how many series a VM may cost by default.
const maxSeries = 15

// TestPages: everything that is served while a VM runs.
func TestPages(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	p := start(t, setup{socket: daemon.Socket()})
	p.await(t, "qemu-tcg")
	p.awaitStatus(t, "/healthz", 200)
	p.awaitStatus(t, "/readyz", 200)
	p.awaitStatus(t, "/nothing", 404)

	found := p.page(t)
	t.Logf("%d series", found.series())
	require.LessOrEqual(t, found.series(), maxSeries)
	for name := range found.families {
		require.True(t, strings.HasPrefix(name, "hypervisor_exporter_") || strings.HasPrefix(name, "kubevirt_vmi_hypervisor_"), name)
	}
	require.Equal(t, 1.0, found.number("hypervisor_exporter_build_info"))
	domain, err := found.labels(domainMetric)
	require.NoError(t, err)
	require.Equal(t, "qemu", domain["domain_type"])
	require.Equal(t, "x86_64", domain["arch"])
	require.Regexp(t, `^\d+\.\d+\.\d+$`, domain["libvirt_version"])
}

package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestWhichDomain: the domain named after the VMI is the VMI's; without it the only
// one that KubeVirt made; any doubt shows nothing.
func TestWhichDomain(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	p := start(t, setup{socket: daemon.Socket()})
	p.watch(t, 50*time.Millisecond)
	run := func(g libvirttest.Guest) *libvirttest.Domain {
		domain, err := daemon.Create(t.Context(), g)
		require.NoError(t, err)
		return domain
	}
	seesNoMatch := func(before float64) {
		p.awaitPage(t, func(found page) error {
			if found.number(errorsMetric, "reason", "no_match") <= before {
				return fmt.Errorf("no error of reason no_match was counted")
			}
			return nil
		})
	}

	run(libvirttest.Guest{DomainName: "stranger", NoMetadata: true})
	seesNoMatch(0)
	p.await(t, absent)
	require.Equal(t, 1, p.AwaitLog(t, "no domain is surely the VMI's"))

	other := run(libvirttest.Guest{DomainName: "other_name"})
	p.await(t, "qemu-tcg")
	p.AwaitLog(t, "taking the only one with KubeVirt metadata")

	second := run(libvirttest.Guest{DomainName: "second_name"})
	p.await(t, absent)
	seesNoMatch(1)

	named := run(libvirttest.Guest{Namespace: "default", Name: "vm"})
	p.await(t, "qemu-tcg")
	require.NoError(t, named.Suspend(t.Context()))
	require.NoError(t, named.Destroy(t.Context()))
	p.await(t, absent)

	require.NoError(t, second.Destroy(t.Context()))
	p.await(t, "qemu-tcg")
	require.NoError(t, other.Destroy(t.Context()))
	p.await(t, absent)
	require.Equal(t, 2, strings.Count(p.Log(), "taking the only one with KubeVirt metadata"), "a warning a change")
}

// TestNamedDomainWins: of two domains of KubeVirt's that differ in type, the type shown
// is that of the one named after the VMI.
func TestNamedDomainWins(t *testing.T) {
	t.Parallel()
	if err := libvirttest.HaveKVM(); err != nil {
		t.Skipf("needs guests of two types: %v", err)
	}
	daemon := libvirtd(t)
	first, err := daemon.Create(t.Context(), libvirttest.Guest{DomainName: "default_aaa", Type: libvirttest.TCG})
	require.NoError(t, err)
	second, err := daemon.Create(t.Context(), libvirttest.Guest{DomainName: "default_vm", Type: libvirttest.KVM})
	require.NoError(t, err)
	p := start(t, setup{socket: daemon.Socket()})
	p.await(t, "kvm")
	p.holds(t, "kvm", 200*time.Millisecond)
	require.NoError(t, second.Destroy(t.Context()))
	p.await(t, "qemu-tcg")
	require.NoError(t, first.Destroy(t.Context()))
	p.await(t, absent)
}

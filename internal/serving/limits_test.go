package serving

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

func somePrefixes(n int) []netip.Prefix {
	all := []netip.Prefix{{}}
	for i := range n {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32))
	}
	return all
}

// TestLimits: whatever connections do, no limit is exceeded, and those that work or are
// trusted stay.
func TestLimits(t *testing.T) {
	seeds := uint64(10)
	if testkit.Soak() {
		seeds = 200
	}
	for _, limits := range []Limits{
		{Connections: 1},
		{Connections: 4, Trusted: 2},
		{Connections: 8, PerSource: 4, New: 3, Trusted: 3},
		{Connections: 12, PerSource: 5, Trusted: 1},
		{Connections: 6, New: 6},
	} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%+v seed %d", limits, seed), func(t *testing.T) {
				m := newModel(t, limits, seed)
				sources := somePrefixes(1 + int(seed%5))
				for range 400 {
					m.step(sources)
					m.check()
				}
			})
		}
	}
}

// address is a source.
func address(i byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 1, i}), 32) }

// TestWhoGoes: the longest wait decides within a source, and the number of connections
// among sources.
func TestWhoGoes(t *testing.T) {
	m := newModel(t, Limits{Connections: 5, Trusted: 1}, 0)
	var conns []*conn
	for _, source := range []byte{1, 1, 1, 2, 3} {
		c, evicted, ok := m.accept(address(source))
		require.True(t, ok)
		require.Empty(t, evicted)
		conns = append(conns, c)
		m.clock = m.clock.Add(time.Millisecond)
	}
	m.limiter.works(conns[0])
	_, evicted, ok := m.accept(address(4))
	require.True(t, ok)
	require.Equal(t, []*conn{conns[1]}, evicted, "the busy one of the source with the most stays")

	for _, c := range m.open {
		m.limiter.works(c)
	}
	_, evicted, ok = m.accept(address(5))
	require.False(t, ok, "all are busy")
	require.Empty(t, evicted)

	m.limiter.waits(conns[3])
	m.limiter.trust(conns[3])
	_, _, ok = m.accept(address(2))
	require.True(t, ok, "a trusted one takes no stranger's place")
	require.False(t, conns[3].state.evicted)
}

// TestOwnAddressWaits: an address that has all it may have gets another connection only
// for one that has waited for a while.
func TestOwnAddressWaits(t *testing.T) {
	m := newModel(t, Limits{Connections: 8, PerSource: 2}, 0)
	first, _, _ := m.accept(address(1))
	m.clock = m.clock.Add(minWait / 2)
	m.accept(address(1))
	_, _, ok := m.accept(address(1))
	require.False(t, ok)
	m.clock = m.clock.Add(minWait / 2)
	_, evicted, ok := m.accept(address(1))
	require.True(t, ok)
	require.Equal(t, []*conn{first}, evicted)
}

// TestHandshakesAreDroppedAtRandom: each of a full house of new connections is dropped
// with the same likelihood, the newest included, and none of a source that has few.
func TestHandshakesAreDroppedAtRandom(t *testing.T) {
	gone := map[int]int{}
	for seed := range uint64(2000) {
		m := newModel(t, Limits{Connections: 100, New: 4}, seed)
		other, _, _ := m.accept(address(2))
		var conns []*conn
		for range 3 {
			c, _, _ := m.accept(address(1))
			conns = append(conns, c)
		}
		_, evicted, ok := m.accept(address(1))
		require.False(t, other.state.evicted)
		if !ok {
			gone[3]++
			continue
		}
		for i, c := range conns {
			if c == evicted[0] {
				gone[i]++
			}
		}
	}
	for i := range 4 {
		require.InDelta(t, 500, gone[i], 120, "place %d", i)
	}
}

func TestSourceOf(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1:80":          "192.0.2.1/32",
		"[::ffff:192.0.2.1]:80": "192.0.2.1/32",
		"[2001:db8::1]:80":      "2001:db8::/64",
		"[2001:db8::2:1]:80":    "2001:db8::/64",
		"[fe80::1%eth0]:80":     "fe80::/64",
	} {
		require.Equal(t, want, sourceOf(tcpAddr(t, text)).String())
		require.Equal(t, want, Source(&http.Request{RemoteAddr: text}).String())
	}
	require.False(t, sourceOf(&unixAddr).IsValid())
	require.False(t, Source(&http.Request{RemoteAddr: "@"}).IsValid())
}

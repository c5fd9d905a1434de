package serving

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A model drives a limiter as a server does, and remembers what it must not break.
type model struct {
	t       *testing.T
	limiter *limiter
	random  *rand.Rand
	clock   time.Time
	open    []*conn
}

func newModel(t *testing.T, limits Limits, seed uint64) *model {
	m := &model{t: t, random: rand.New(rand.NewPCG(seed, 0)), clock: time.Unix(1, 0)}
	m.limiter = newLimiter(limits, m.random.IntN, func() time.Time { return m.clock })
	return m
}

func (m *model) accept(source netip.Prefix) (c *conn, evicted []*conn, ok bool) {
	c = &conn{limiter: m.limiter, state: state{source: source}}
	evicted, ok = m.limiter.admit(c)
	if ok {
		m.open = append(m.open, c)
	}
	return c, evicted, ok
}

// any is one of the open connections that fits.
func (m *model) any(fits func(*conn) bool) *conn {
	var all []*conn
	for _, c := range m.open {
		if fits(c) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[m.random.IntN(len(all))]
}

func (m *model) count(fits func(*conn) bool) (n int) {
	for _, c := range m.open {
		if fits(c) {
			n++
		}
	}
	return n
}

func (m *model) close(c *conn) {
	m.limiter.remove(c)
	m.limiter.remove(c) // a second time does nothing
	for i, other := range m.open {
		if other == c {
			m.open = append(m.open[:i], m.open[i+1:]...)
			return
		}
	}
}

func alive(c *conn) bool    { return !c.state.evicted }
func idle(c *conn) bool     { return alive(c) && !c.state.busy }
func stranger(c *conn) bool { return alive(c) && !c.state.trusted }

// step does one thing at random.
func (m *model) step(sources []netip.Prefix) {
	m.clock = m.clock.Add(time.Duration(m.random.IntN(500)) * time.Millisecond)
	switch m.random.IntN(8) {
	case 0, 1, 2:
		if !m.limiter.crowded() {
			m.checkAccept(sources[m.random.IntN(len(sources))])
		}
	case 3:
		if c := m.any(idle); c != nil {
			m.limiter.asks(c)
			require.True(m.t, m.limiter.works(c))
		}
	case 4:
		if c := m.any(alive); c != nil {
			m.limiter.waits(c)
		}
	case 5:
		if c := m.any(alive); c != nil {
			m.limiter.trust(c)
		}
	case 6:
		if c := m.any(func(c *conn) bool { return !alive(c) }); c != nil {
			require.False(m.t, m.limiter.works(c), "an evicted connection gets no work")
			m.close(c)
		}
	default:
		if c := m.any(alive); c != nil {
			m.close(c)
		}
	}
}

// checkAccept accepts, and checks that those go who must go.
func (m *model) checkAccept(source netip.Prefix) {
	full := m.count(stranger) >= m.limiter.limits.Connections
	others := m.count(func(c *conn) bool { return stranger(c) && idle(c) && c.state.source != source })
	c, evicted, ok := m.accept(source)
	for _, gone := range evicted {
		require.NotSame(m.t, c, gone)
		require.False(m.t, gone.state.busy, "a request under way is never cut off")
		require.False(m.t, gone.state.trusted, "a trusted connection is never the one to go")
		require.True(m.t, gone.state.evicted)
	}
	if !ok {
		require.Empty(m.t, evicted, "nobody goes for one that is refused")
	}
	if m.limiter.limits.New == 0 && m.limiter.limits.PerSource == 0 && full && others > 0 && !ok {
		require.Equal(m.t, m.heaviest(source), source, "refused though another source has more and one of its connections waits")
	}
}

// heaviest is the source with the most strangers, the new one counted.
func (m *model) heaviest(source netip.Prefix) netip.Prefix {
	weight := map[netip.Prefix]int{source: 1}
	for _, c := range m.open {
		if stranger(c) {
			weight[c.state.source]++
		}
	}
	most := source
	for s, n := range weight {
		if n > weight[most] {
			most = s
		}
	}
	return most
}

func (m *model) check() {
	limits := m.limiter.limits
	require.LessOrEqual(m.t, m.count(stranger), limits.Connections)
	require.LessOrEqual(m.t, m.count(func(c *conn) bool { return alive(c) && c.state.trusted }), limits.Trusted)
	require.LessOrEqual(m.t, len(m.open)-m.count(alive), limits.maxEvicted()+3)
	require.Len(m.t, m.limiter.conns, len(m.open))
	if limits.New > 0 {
		require.LessOrEqual(m.t, m.count(func(c *conn) bool { return idle(c) && stranger(c) && !c.state.asked }), limits.New)
	}
	if limits.PerSource > 0 {
		bySource := map[netip.Prefix]int{}
		for _, c := range m.open {
			if stranger(c) && c.state.source.IsValid() {
				bySource[c.state.source]++
				require.LessOrEqual(m.t, bySource[c.state.source], limits.PerSource)
			}
		}
	}
}

func somePrefixes(n int) []netip.Prefix {
	all := []netip.Prefix{{}}
	for i := range n {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32))
	}
	return all
}

// TestLimits: whatever connections do, no limit is exceeded, and those who work or are
// trusted stay.
func TestLimits(t *testing.T) {
	for _, limits := range []Limits{
		{Connections: 1},
		{Connections: 4, Trusted: 2},
		{Connections: 8, PerSource: 4, New: 3, Trusted: 3},
		{Connections: 12, PerSource: 5, Trusted: 1},
		{Connections: 6, New: 6},
	} {
		for seed := range uint64(40) {
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
	}
	require.False(t, sourceOf(&unixAddr).IsValid())
}

package serving

import (
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
		require.Empty(m.t, evicted, "no one goes for one that is refused")
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

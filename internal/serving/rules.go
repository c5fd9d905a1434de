package serving

import "net/netip"

// The rules by which a limiter chooses a connection that goes for the new one. Each
// returns nil if there is room, and the new one if no other may go.

// oneTooManyNew chooses at random, the new one included, among those of the source that
// has the most: the longest wait would be that of an honest client as soon as a flood
// comes in faster than a handshake takes.
func (l *limiter) oneTooManyNew(c *conn) *conn {
	all := []*conn{c}
	for _, other := range l.strangers() {
		if s := &other.state; !s.asked && !s.busy {
			all = append(all, other)
		}
	}
	if l.limits.New == 0 || len(all) <= l.limits.New {
		return nil
	}
	heaviest := ofHeaviestSource(all, all)
	return heaviest[l.pick(len(heaviest))]
}

func (l *limiter) oneTooManyOfSource(c *conn) *conn {
	if l.limits.PerSource == 0 || !c.state.source.IsValid() {
		return nil
	}
	var all []*conn
	for _, other := range l.strangers() {
		if other.state.source == c.state.source {
			all = append(all, other)
		}
	}
	if len(all) < l.limits.PerSource {
		return nil
	}
	return l.longestWaiting(all, c)
}

// oneTooMany chooses from the source that has the most: a flood from a few addresses
// closes its own connections, not those of others.
func (l *limiter) oneTooMany(c *conn) *conn {
	all := l.strangers()
	if len(all) < l.limits.Connections {
		return nil
	}
	idle := []*conn{c}
	for _, other := range all {
		if !other.state.busy {
			idle = append(idle, other)
		}
	}
	return l.longestWaiting(ofHeaviestSource(idle, append(all, c)), c)
}

// strangers are the connections that are neither trusted nor evicted.
func (l *limiter) strangers() []*conn {
	all := make([]*conn, 0, len(l.conns)+1)
	for c := range l.conns {
		if !c.state.trusted && !c.state.evicted {
			all = append(all, c)
		}
	}
	return all
}

// ofHeaviestSource returns those candidates whose source has the most connections among
// all, and those of every such source if there are several.
func ofHeaviestSource(candidates, all []*conn) []*conn {
	weight := map[netip.Prefix]int{}
	for _, c := range all {
		weight[c.state.source]++
	}
	most := 0
	for _, c := range candidates {
		most = max(most, weight[c.state.source])
	}
	var heaviest []*conn
	for _, c := range candidates {
		if weight[c.state.source] == most {
			heaviest = append(heaviest, c)
		}
	}
	return heaviest
}

// longestWaiting returns the one that is not busy and has waited longest, or c if
// there is no other. Those of other sources than c's go first.
func (l *limiter) longestWaiting(all []*conn, c *conn) *conn {
	longest := c
	for _, other := range all {
		switch {
		case other == c || other.state.busy:
		case longest == c, l.before(&other.state, &longest.state, c.state.source):
			longest = other
		}
	}
	if own := c.state.source; own.IsValid() && longest.state.source == own && l.now().Sub(longest.state.since) < minWait {
		return c
	}
	return longest
}

// before reports whether a goes before b for a new connection of the source.
func (l *limiter) before(a, b *state, source netip.Prefix) bool {
	if aOwn, bOwn := a.source == source, b.source == source; aOwn != bOwn {
		return bOwn
	}
	return a.since.Before(b.since)
}

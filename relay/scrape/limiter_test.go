package scrape

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

func TestLimiter(t *testing.T) {
	l := newLimiter(8, 3)
	for range 3 {
		require.Equal(t, OK, l.enter("a"))
	}
	require.Equal(t, PodBusy, l.enter("a"))
	require.Equal(t, OK, l.enter("b"))
	require.Equal(t, OK, l.enter("b"))
	require.Equal(t, OK, l.enter("c"))
	require.Equal(t, 6, l.inFlight())
	require.Equal(t, RelayBusy, l.enter("b"), "the last quarter is for others")
	require.Equal(t, OK, l.enter("d"))
	require.Equal(t, OK, l.enter("e"))
	require.Equal(t, RelayBusy, l.enter("f"))
	l.leave("a")
	require.Equal(t, OK, l.enter("f"))
	for _, uid := range []podsocket.UID{"a", "a", "b", "b", "c", "d", "e", "f"} {
		l.leave(uid)
	}
	require.Zero(t, l.inFlight())
	require.Empty(t, l.pods, "no pod is kept")
}

// TestLimiterIsFair: pods that take as many places as they can leave one to each of the
// others, one after the other.
func TestLimiterIsFair(t *testing.T) {
	l := newLimiter(256, 4)
	for holder := range 100 {
		for l.enter(podsocket.UID(fmt.Sprint("holder", holder))) == OK {
			if l.inFlight() > 192 {
				break
			}
		}
	}
	for pod := range 249 {
		uid := podsocket.UID(fmt.Sprint("pod", pod))
		require.Equal(t, OK, l.enter(uid))
		l.leave(uid)
	}
}

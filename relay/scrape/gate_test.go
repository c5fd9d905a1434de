package scrape

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

func TestGate(t *testing.T) {
	g := newGate(8, 3)
	for range 3 {
		require.Equal(t, OK, g.enter("a"))
	}
	require.Equal(t, PodBusy, g.enter("a"))
	require.Equal(t, OK, g.enter("b"))
	require.Equal(t, OK, g.enter("b"))
	require.Equal(t, OK, g.enter("c"))
	require.Equal(t, 6, g.inFlight())
	require.Equal(t, RelayBusy, g.enter("b"), "the last quarter is for others")
	require.Equal(t, OK, g.enter("d"))
	require.Equal(t, OK, g.enter("e"))
	require.Equal(t, RelayBusy, g.enter("f"))
	g.leave("a")
	require.Equal(t, OK, g.enter("f"))
	for _, uid := range []podsocket.UID{"a", "a", "b", "b", "c", "d", "e", "f"} {
		g.leave(uid)
	}
	require.Zero(t, g.inFlight())
	require.Empty(t, g.pods, "no pod is remembered")
}

// TestGateIsFair: pods that take all they can get leave a place to each of the
// others, one after the other.
func TestGateIsFair(t *testing.T) {
	g := newGate(256, 4)
	for hog := range 100 {
		for g.enter(podsocket.UID(fmt.Sprint("hog", hog))) == OK {
			if g.inFlight() > 192 {
				break
			}
		}
	}
	for pod := range 249 {
		uid := podsocket.UID(fmt.Sprint("pod", pod))
		require.Equal(t, OK, g.enter(uid))
		g.leave(uid)
	}
}

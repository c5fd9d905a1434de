package crowd

import (
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCrowd: one too many takes the place of the one that waited longest; one whose
// request is under way is left alone.
func TestCrowd(t *testing.T) {
	const most = 5
	c := New(most)
	var conns []*closing
	for range most {
		conn := &closing{}
		conns = append(conns, conn)
		c.Track(conn, http.StateNew)
	}
	c.Track(conns[0], http.StateActive)
	c.Track(&closing{}, http.StateNew)
	require.False(t, conns[0].closed)
	require.True(t, conns[1].closed)
	require.False(t, conns[2].closed)
	c.Track(conns[1], http.StateClosed)
	require.Equal(t, most, c.open)
	c.Track(conns[0], http.StateIdle)
	c.Track(&closing{}, http.StateNew)
	require.True(t, conns[2].closed)
	require.False(t, conns[0].closed)
}

type closing struct {
	net.Conn
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

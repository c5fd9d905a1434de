package rawio_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/relay/rawio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both gives a Conn of each kind and its peer, an ordinary connection.
func both(t *testing.T, test func(t *testing.T, conn, peer net.Conn)) {
	t.Run("accepted", func(t *testing.T) {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer tcp.Close()
		peer, err := net.Dial("tcp", tcp.Addr().String())
		require.NoError(t, err)
		defer peer.Close()
		conn, err := rawio.Listener{TCPListener: tcp.(*net.TCPListener)}.Accept()
		require.NoError(t, err)
		defer conn.Close()
		test(t, conn, peer)
	})
	t.Run("dialled", func(t *testing.T) {
		listener := listen(t)
		conn, err := rawio.DialUnix(listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		peer, err := listener.Accept()
		require.NoError(t, err)
		defer peer.Close()
		test(t, conn, peer)
	})
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// TestAllBytes: more than any buffer holds comes through, both ways at once, and
// then the end.
func TestAllBytes(t *testing.T) {
	both(t, func(t *testing.T, conn, peer net.Conn) {
		content := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
		for _, end := range []net.Conn{conn, peer} {
			require.NoError(t, end.SetDeadline(time.Now().Add(30*time.Second)))
		}
		var all sync.WaitGroup
		defer all.Wait()
		all.Go(func() { // echoes
			_, _ = io.Copy(peer, io.LimitReader(peer, int64(len(content))))
			_ = peer.Close()
		})
		all.Go(func() {
			n, err := conn.Write(content)
			require.NoError(t, err)
			require.Equal(t, len(content), n)
		})
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, got))
		n, err := conn.Read(nil)
		require.Zero(t, n)
		require.NoError(t, err, "nothing was asked for")
	})
}

// TestDeadlines: a read and a write that wait end at the deadline, and at the end of
// the connection.
func TestDeadlines(t *testing.T) {
	both(t, func(t *testing.T, conn, _ net.Conn) {
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Millisecond)))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		for err = nil; err == nil; {
			_, err = conn.Write(make([]byte, 1<<20))
		}
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)

		require.NoError(t, conn.SetDeadline(time.Time{}))
		ended := make(chan error, 1)
		go func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		}()
		require.NoError(t, conn.Close())
		require.Error(t, <-ended)
	})
}

// TestPeerGone: writing to nobody is an error, and no signal.
func TestPeerGone(t *testing.T) {
	both(t, func(t *testing.T, conn, peer net.Conn) {
		require.NoError(t, peer.Close())
		require.Eventually(t, func() bool {
			_, err := conn.Write([]byte("a"))
			return err != nil
		}, 10*time.Second, time.Millisecond)
		_, err := conn.Write([]byte("a"))
		require.ErrorIs(t, err, unix.EPIPE)
	})
}

func TestDialUnixFails(t *testing.T) {
	_, err := rawio.DialUnix(filepath.Join(t.TempDir(), "nothing"))
	require.ErrorIs(t, err, unix.ENOENT)
	_, err = rawio.DialUnix(strings.Repeat("a", 108))
	require.ErrorIs(t, err, unix.ENAMETOOLONG)
	listener := listen(t).(*net.UnixListener)
	listener.SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	_, err = rawio.DialUnix(listener.Addr().String())
	require.ErrorIs(t, err, unix.ECONNREFUSED)
}

// TestPathsHoldNoNUL: a path that the kernel would cut short is none.
func TestPathsHoldNoNUL(t *testing.T) {
	_, err := rawio.Openat(unix.AT_FDCWD, "/\x00a", unix.O_PATH)
	require.ErrorIs(t, err, unix.EINVAL)
	_, err = rawio.Openat2(unix.AT_FDCWD, "/\x00a", &unix.OpenHow{Flags: unix.O_PATH})
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorIs(t, rawio.Fstat(-1, &unix.Stat_t{}), unix.EBADF)
}

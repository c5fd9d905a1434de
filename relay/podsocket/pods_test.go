package podsocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// setup returns a kubelet's folder and what finds sockets in it.
func setup(t *testing.T) (podtest.Kubelet, *podsocket.Pods) {
	dir := t.TempDir()
	return podtest.Kubelet{Dir: dir}, podsocket.New(dir)
}

func addPod(t *testing.T, kubelet podtest.Kubelet) podtest.Pod {
	t.Helper()
	pod, err := kubelet.AddPod()
	require.NoError(t, err)
	return pod
}

// speak sends a word to each connection, until the test ends.
func speak(t *testing.T, path, word string) *net.UnixListener {
	t.Helper()
	listener, err := podtest.Listen(path)
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, word)
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener
}

func hear(t *testing.T, conn net.Conn, err error) string {
	t.Helper()
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	heard, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(heard)
}

func TestDial(t *testing.T) {
	kubelet, pods := setup(t)
	one, other := addPod(t, kubelet), addPod(t, kubelet)
	speak(t, one.Socket(), "one")
	speak(t, other.Socket(), "other")
	for uid, want := range map[podsocket.UID]string{one.UID: "one", other.UID: "other"} {
		conn, err := pods.Dial(t.Context(), uid)
		require.Equal(t, want, hear(t, conn, err))
	}
	require.NoError(t, pods.Check())
}

// TestWhatATenantMayPlant puts everything else in the socket's place. None of
// it is opened: the FIFO would block, the bait would be read.
func TestWhatATenantMayPlant(t *testing.T) {
	for _, c := range []struct {
		name  string
		plant func(t *testing.T, pod, victim podtest.Pod)
		want  error
	}{
		{"nothing", func(*testing.T, podtest.Pod, podtest.Pod) {}, podsocket.ErrGone},
		{"no volume", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.Remove(pod.Volume))
		}, podsocket.ErrGone},
		{"no pod", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.RemoveAll(pod.Root))
		}, podsocket.ErrGone},
		{"a link to another pod's socket", func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Symlink(victim.Socket(), pod.Socket()))
		}, podsocket.ErrForeign},
		{"a relative link to another pod's socket", func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Symlink("../../../../"+string(victim.UID)+"/volumes/kubernetes.io~empty-dir/hypervisor-exporter/metrics.sock", pod.Socket()))
		}, podsocket.ErrForeign},
		{"a link to a socket of its own", func(t *testing.T, pod, _ podtest.Pod) {
			speak(t, pod.Path("own.sock"), "bait")
			require.NoError(t, os.Symlink("own.sock", pod.Socket()))
		}, podsocket.ErrForeign},
		{"a link to nowhere", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.Symlink("/nowhere", pod.Socket()))
		}, podsocket.ErrForeign},
		{"a link to a process's descriptor", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.Symlink("/proc/self/fd/0", pod.Socket()))
		}, podsocket.ErrForeign},
		{"a link in place of the volume", func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Remove(pod.Volume))
			require.NoError(t, os.Symlink(victim.Volume, pod.Volume))
		}, podsocket.ErrForeign},
		{"a file in place of the volume", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.Remove(pod.Volume))
			require.NoError(t, os.WriteFile(pod.Volume, nil, 0o600))
		}, podsocket.ErrForeign},
		{"a FIFO", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, unix.Mkfifo(pod.Socket(), 0o666))
		}, podsocket.ErrForeign},
		{"a regular file", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.WriteFile(pod.Socket(), []byte("HTTP/1.1 200 OK\r\n\r\n"), 0o666))
		}, podsocket.ErrForeign},
		{"a directory", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, os.Mkdir(pod.Socket(), 0o777))
		}, podsocket.ErrForeign},
		{"a device", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, unix.Mknod(pod.Socket(), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))), "the tests run as root")
		}, podsocket.ErrForeign},
		{"another pod's socket by another name", func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Link(victim.Socket(), pod.Socket()))
		}, podsocket.ErrForeign},
		{"a socket without a listener", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, speak(t, pod.Socket(), "").Close())
		}, podsocket.ErrRefused},
		{"a listener that accepts nothing", func(t *testing.T, pod, _ podtest.Pod) {
			require.NoError(t, unix.Listen(bind(t, pod, unix.SOCK_STREAM), 0))
			first, err := podsocket.New(filepath.Dir(pod.Root)).Dial(t.Context(), pod.UID)
			require.NoError(t, err)
			t.Cleanup(func() { _ = first.Close() })
		}, podsocket.ErrRefused},
		{"a datagram socket", func(t *testing.T, pod, _ podtest.Pod) { bind(t, pod, unix.SOCK_DGRAM) }, unix.EPROTOTYPE},
	} {
		t.Run(c.name, func(t *testing.T) {
			kubelet, pods := setup(t)
			pod, victim := addPod(t, kubelet), addPod(t, kubelet)
			speak(t, victim.Socket(), "bait")
			c.plant(t, pod, victim)
			_, err := pods.Dial(t.Context(), pod.UID)
			for _, known := range []error{podsocket.ErrGone, podsocket.ErrForeign, podsocket.ErrNode, podsocket.ErrRefused, c.want} {
				require.Equal(t, known == c.want, errors.Is(err, known), "%v is %v", err, known)
			}
		})
	}
}

// bind makes the pod's socket of another kind than a sidecar's.
func bind(t *testing.T, pod podtest.Pod, kind int) (fd int) {
	t.Helper()
	link := filepath.Join(t.TempDir(), "v") // unix(7): a path has 108 bytes
	require.NoError(t, os.Symlink(pod.Volume, link))
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(link, "metrics.sock")}))
	return fd
}

// TestNothingIsLeftOpen: whatever the result, no descriptor stays open.
func TestNothingIsLeftOpen(t *testing.T) {
	kubelet, pods := setup(t)
	good, bad := addPod(t, kubelet), addPod(t, kubelet)
	speak(t, good.Socket(), "good")
	require.NoError(t, os.Mkdir(bad.Socket(), 0o777))
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	try := func() {
		for _, uid := range []podsocket.UID{good.UID, bad.UID, "00000000-0000-4000-8000-000000000000"} {
			if conn, err := pods.Dial(t.Context(), uid); err == nil {
				hear(t, conn, nil)
			}
		}
	}
	try() // the runtime's own descriptors come with the first connection
	before := count()
	for range 100 {
		try()
	}
	require.LessOrEqual(t, count(), before+1, "the listener may still be closing a connection")
}

func TestNoFolderOfPods(t *testing.T) {
	pods := podsocket.New("/nowhere")
	_, err := pods.Dial(t.Context(), "00000000-0000-4000-8000-000000000000")
	require.ErrorIs(t, err, podsocket.ErrNode)
	require.NotErrorIs(t, err, podsocket.ErrGone)
	require.ErrorIs(t, pods.Check(), podsocket.ErrNode)
}

func TestHolds(t *testing.T) {
	kubelet, pods := setup(t)
	pod := addPod(t, kubelet)
	require.NoError(t, pods.Holds(pod.UID))
	require.NoError(t, os.RemoveAll(pod.Root))
	require.ErrorIs(t, pods.Holds(pod.UID), podsocket.ErrGone)
	require.NoError(t, os.Remove(kubelet.Dir))
	require.ErrorIs(t, pods.Holds(pod.UID), podsocket.ErrNode)
}

// TestSwapBetweenOpenAndConnect: the relay connects to the file that it found, whatever
// has its name, or its folder's name, by then.
func TestSwapBetweenOpenAndConnect(t *testing.T) {
	for name, swap := range map[string]func(t *testing.T, pod, victim podtest.Pod){
		"a link to another pod's socket": func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Remove(pod.Socket()))
			require.NoError(t, os.Symlink(victim.Socket(), pod.Socket()))
		},
		"another pod's socket by another name": func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Remove(pod.Socket()))
			require.NoError(t, os.Link(victim.Socket(), pod.Socket()))
		},
		"another pod's socket, moved": func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Rename(victim.Socket(), pod.Socket()))
		},
		"a link in place of the volume": func(t *testing.T, pod, victim podtest.Pod) {
			require.NoError(t, os.Rename(pod.Volume, pod.Volume+".away"))
			require.NoError(t, os.Symlink(victim.Volume, pod.Volume))
		},
	} {
		t.Run(name, func(t *testing.T) {
			kubelet, pods := setup(t)
			pod, victim := addPod(t, kubelet), addPod(t, kubelet)
			speak(t, pod.Socket(), "own")
			speak(t, victim.Socket(), "bait")
			socket, err := pods.Open(pod.UID)
			require.NoError(t, err)
			defer socket.Close()
			swap(t, pod, victim)
			conn, err := socket.Connect(t.Context())
			require.Equal(t, "own", hear(t, conn, err))
		})
	}
}

// TestStormOfSwaps: while a tenant exchanges its socket for a link, a second name
// of another pod's socket and nothing, as fast as it can, no connection leads
// to the other pod.
func TestStormOfSwaps(t *testing.T) {
	kubelet, pods := setup(t)
	pod, victim := addPod(t, kubelet), addPod(t, kubelet)
	speak(t, pod.Path("own.sock"), "own")
	speak(t, victim.Socket(), "bait")
	require.NoError(t, os.Symlink(victim.Socket(), pod.Path("link")))
	require.NoError(t, os.Link(victim.Socket(), pod.Path("second")))
	ctx, cancel := context.WithCancel(t.Context())
	var swaps sync.WaitGroup
	defer swaps.Wait()
	defer cancel()
	swaps.Go(func() {
		for ctx.Err() == nil {
			for _, name := range []string{"own.sock", "link", "second"} {
				_ = os.Rename(pod.Path(name), pod.Socket())
				_ = os.Rename(pod.Socket(), pod.Path(name))
			}
		}
	})
	connected := 0
	rounds := 1_000
	if testkit.Soak() {
		rounds = 50_000
	}
	for round := 0; round < rounds || connected == 0; round++ {
		conn, err := pods.Dial(t.Context(), pod.UID)
		if err != nil {
			continue
		}
		connected++
		require.Equal(t, "own", hear(t, conn, nil))
	}
}

package podsocket_test

import (
	"context"
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

// both runs the test with each of the two ways to find a socket.
func both(t *testing.T, test func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods)) {
	for name, make := range map[string]func(string) *podsocket.Pods{
		"openat2": podsocket.New, "walk": podsocket.NewWalking,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			pods := make(dir)
			if name == "openat2" {
				require.NoError(t, pods.Denied(), "this kernel or container has no openat2; the tests need Linux 5.6")
			}
			test(t, podtest.Kubelet{Dir: dir}, pods)
		})
	}
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
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
		one, other := addPod(t, kubelet), addPod(t, kubelet)
		speak(t, one.Socket(), "one")
		speak(t, other.Socket(), "other")
		for uid, want := range map[podsocket.UID]string{one.UID: "one", other.UID: "other"} {
			conn, err := pods.Dial(t.Context(), uid)
			require.Equal(t, want, hear(t, conn, err))
		}
		require.NoError(t, pods.Check())
	})
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
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
				pod, victim := addPod(t, kubelet), addPod(t, kubelet)
				speak(t, victim.Socket(), "bait")
				c.plant(t, pod, victim)
				_, err := pods.Dial(t.Context(), pod.UID)
				require.ErrorIs(t, err, c.want)
			})
		})
	}
}

// TestADatagramSocket: it is there and cannot be used; that is not the node's fault.
func TestADatagramSocket(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
		pod := addPod(t, kubelet)
		link := filepath.Join(t.TempDir(), "v")
		require.NoError(t, os.Symlink(pod.Volume, link))
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(link, "metrics.sock"), Net: "unixgram"})
		require.NoError(t, err)
		defer conn.Close()
		_, err = pods.Dial(t.Context(), pod.UID)
		require.ErrorIs(t, err, unix.EPROTOTYPE)
		for _, other := range []error{podsocket.ErrGone, podsocket.ErrForeign, podsocket.ErrNode, podsocket.ErrRefused} {
			require.NotErrorIs(t, err, other)
		}
	})
}

// TestAFullQueue: a listener that accepts no connection does not hold the relay up.
func TestAFullQueue(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
		pod := addPod(t, kubelet)
		link := filepath.Join(t.TempDir(), "v")
		require.NoError(t, os.Symlink(pod.Volume, link))
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		require.NoError(t, err)
		defer func() { _ = unix.Close(fd) }()
		require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Join(link, "metrics.sock")}))
		require.NoError(t, unix.Listen(fd, 0))
		first, err := pods.Dial(t.Context(), pod.UID)
		require.NoError(t, err)
		defer first.Close()
		_, err = pods.Dial(t.Context(), pod.UID)
		require.ErrorIs(t, err, podsocket.ErrRefused)
	})
}

// TestNothingIsLeftOpen: whatever the result, no descriptor stays open.
func TestNothingIsLeftOpen(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
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
	})
}

func TestNoFolderOfPods(t *testing.T) {
	pods := podsocket.New("/nowhere")
	_, err := pods.Dial(t.Context(), "00000000-0000-4000-8000-000000000000")
	require.ErrorIs(t, err, podsocket.ErrNode)
	require.NotErrorIs(t, err, podsocket.ErrGone)
	require.ErrorIs(t, pods.Check(), podsocket.ErrNode)
}

func TestHolds(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
		pod := addPod(t, kubelet)
		require.NoError(t, pods.Holds(pod.UID))
		require.NoError(t, os.RemoveAll(pod.Root))
		require.ErrorIs(t, pods.Holds(pod.UID), podsocket.ErrGone)
		require.NoError(t, os.Remove(kubelet.Dir))
		require.ErrorIs(t, pods.Holds(pod.UID), podsocket.ErrNode)
	})
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
			both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
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
		})
	}
}

// TestStormOfSwaps: while a tenant exchanges its socket for a link, a second name
// of another pod's socket and nothing, as fast as it can, no connection leads
// to the other pod.
func TestStormOfSwaps(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
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
	})
}

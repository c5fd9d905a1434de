package podsocket_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// TestSwapBetweenOpenAndConnect: what was found is what is connected to, whatever
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
// of another pod's socket and nothing, as fast as it can, no connection ever leads
// to the other pod.
func TestStormOfSwaps(t *testing.T) {
	both(t, func(t *testing.T, kubelet podtest.Kubelet, pods *podsocket.Pods) {
		pod, victim := addPod(t, kubelet), addPod(t, kubelet)
		speak(t, pod.Path("own.sock"), "own")
		speak(t, victim.Socket(), "bait")
		require.NoError(t, os.Symlink(victim.Socket(), pod.Path("link")))
		require.NoError(t, os.Link(victim.Socket(), pod.Path("second")))
		ctx, cancel := context.WithCancel(t.Context())
		var storm sync.WaitGroup
		defer storm.Wait()
		defer cancel()
		storm.Go(func() {
			for ctx.Err() == nil {
				for _, name := range []string{"own.sock", "link", "second"} {
					_ = os.Rename(pod.Path(name), pod.Socket())
					_ = os.Rename(pod.Socket(), pod.Path(name))
				}
			}
		})
		connected := 0
		for range 20_000 {
			conn, err := pods.Dial(t.Context(), pod.UID)
			if err != nil {
				continue
			}
			connected++
			require.Equal(t, "own", hear(t, conn, nil))
		}
		require.NotZero(t, connected, "the storm hid the socket all the time")
	})
}

package acceptance

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestReadyOnlyInTheKubeletsFolder: with a folder that is not the kubelet's, the relay lives, is not ready, and names
// the flag to set; when its own pod appears there, it is ready. It is confined by Landlock all the while.
func TestReadyOnlyInTheKubeletsFolder(t *testing.T) {
	t.Parallel()
	kubelet, self := newKubelet(t), uuid.NewString()
	other := addServingPod(t, kubelet)
	relay := startRelay(t, setup{kubelet: kubelet, args: []string{"--pod-uid=" + self}})
	relay.awaitConfined(t)

	text := relay.want(t, http.StatusServiceUnavailable, "/readyz")
	for _, part := range []string{"--kubelet-pods-dir=" + kubelet.Dir, self, "--root-dir", "findmnt -rno TARGET | grep " + self, "relay.kubeletPodsDir"} {
		require.Contains(t, text, part)
	}
	relay.want(t, http.StatusOK, "/healthz") // so nothing restarts it
	relay.want(t, http.StatusOK, podPath(other.UID))
	require.Equal(t, 1, strings.Count(relay.Log(), "is not where this node's kubelet keeps its pods"))

	require.NoError(t, os.Mkdir(filepath.Join(kubelet.Dir, self), 0o750))
	relay.await(t, http.StatusOK, "/readyz")
	relay.AwaitLog(t, "can be used now")
}

// TestMessageNamesTheKubeletsFolder: the relay finds the name of the folder in its mounts, such as etc-hosts.
func TestMessageNamesTheKubeletsFolder(t *testing.T) {
	t.Parallel()
	wrong, right := newKubelet(t), newKubelet(t)
	own := addPod(t, right)
	hosts := filepath.Join(own.Root, "etc-hosts")
	require.NoError(t, os.WriteFile(hosts, nil, 0o644))
	relay := startRelay(t, setup{kubelet: wrong, args: []string{"--pod-uid=" + string(own.UID)}, etcHosts: hosts})
	text := relay.want(t, http.StatusServiceUnavailable, "/readyz")
	require.Regexp(t, "within its file system, that folder is .*"+filepath.Join(filepath.Base(filepath.Dir(right.Dir)), "pods")+"\n$", text)
}

// TestMountsBelowTheKubeletsFolder: the log shows once whether other pods' mounts are writable, as they are without
// recursiveReadOnly.
func TestMountsBelowTheKubeletsFolder(t *testing.T) {
	t.Parallel()
	for below, line := range map[string]string{
		"":   "nothing below the kubelet's folder is writable",
		"ro": "nothing below the kubelet's folder is writable",
		"rw": "recursiveReadOnly is not in force",
	} {
		t.Run("tmpfs "+below, func(t *testing.T) {
			t.Parallel()
			relay := startRelay(t, setup{kubelet: newKubelet(t), tmpfs: below})
			relay.AwaitLog(t, line)
			if below != "" {
				require.Contains(t, relay.Log(), `"mounts":2`)
			}
		})
	}
}

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

// TestReadyOnlyInTheKubeletsFolder: with a folder that is not the kubelet's, the relay lives and is not ready, and says
// which flag to set; when its own pod appears there, it is ready. It is confined by Landlock all the while.
func TestReadyOnlyInTheKubeletsFolder(t *testing.T) {
	kubelet, self := newKubelet(t), uuid.NewString()
	other := addPod(t, kubelet)
	startSidecar(t, other)
	relay := startRelay(t, setup{kubelet: kubelet, args: []string{"--pod-uid=" + self}})
	confined(t, relay)

	code, text, err := relay.get("/readyz")
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, code)
	for _, says := range []string{"--kubelet-pods-dir=" + kubelet.Dir, self, "--root-dir", "findmnt -rno TARGET | grep " + self, "relay.kubeletPodsDir"} {
		require.Contains(t, text, says)
	}
	require.NoError(t, expect(relay, http.StatusOK, "/healthz"), "nothing restarts it")
	require.Contains(t, relay.await(t, other.UID, http.StatusOK), sidecarPage, "what can be scraped still is")
	require.Equal(t, 1, strings.Count(relay.text(), "is not where this node's kubelet keeps its pods"))

	require.NoError(t, os.Mkdir(filepath.Join(kubelet.Dir, self), 0o750))
	eventually(t, func() error { return expect(relay, http.StatusOK, "/readyz") })
	relay.awaitLog(t, "can be used now")
}

// TestMessageNamesTheKubeletsFolder: the relay reads from its mounts, such as etc-hosts, what the folder is called.
func TestMessageNamesTheKubeletsFolder(t *testing.T) {
	wrong, right := newKubelet(t), newKubelet(t)
	own := addPod(t, right)
	hosts := filepath.Join(own.Root, "etc-hosts")
	require.NoError(t, os.WriteFile(hosts, nil, 0o644))
	relay := startRelay(t, setup{kubelet: wrong, args: []string{"--pod-uid=" + string(own.UID)}, etcHosts: hosts})
	_, text, err := relay.get("/readyz")
	require.NoError(t, err)
	require.Regexp(t, "within its file system, that folder is .*"+filepath.Join(filepath.Base(filepath.Dir(right.Dir)), "pods")+"\n$", text)
}

// TestMountsBelowTheKubeletsFolder: the log says once whether other pods' mounts are writable, as they are without
// recursiveReadOnly.
func TestMountsBelowTheKubeletsFolder(t *testing.T) {
	for below, says := range map[string]string{
		"":   "nothing below the kubelet's folder is writable",
		"ro": "nothing below the kubelet's folder is writable",
		"rw": "recursiveReadOnly is not in force",
	} {
		t.Run("tmpfs "+below, func(t *testing.T) {
			relay := startRelay(t, setup{kubelet: newKubelet(t), tmpfs: below})
			relay.awaitLog(t, says)
			if below != "" {
				require.Contains(t, relay.text(), `"mounts":2`)
			}
		})
	}
}

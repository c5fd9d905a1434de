package acceptance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// confined waits until the relay says whether it is confined, and skips the test where the
// kernel cannot do it. What it cannot do then is tested in relay/confine.
func confined(t *testing.T, relay *relay) {
	t.Helper()
	relay.awaitLog(t, "confined by Landlock")
	if strings.Contains(relay.text(), "not confined by Landlock: the kernel lacks it") {
		t.Skip("no Landlock here")
	}
	require.Contains(t, relay.text(), `"msg":"confined by Landlock"`)
}

// TestConfinedInCertificateFolder: the relay reads a certificate that the kubelet swaps in the mounted folder, and none that a
// link leads to outside of it, though it is root.
func TestConfinedInCertificateFolder(t *testing.T) {
	kubelet, inside, outside := newKubelet(t), newSecret(t), newSecret(t)
	inside.issue(t)
	outside.issue(t)
	relay := startRelay(t, setup{kubelet: kubelet, args: inside.flags()})
	confined(t, relay)
	relay.scheme, relay.client = "https", inside.client(t)
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	require.Contains(t, relay.await(t, pod.UID, http.StatusOK), sidecarPage, "of a pod that came after")

	inside.swap(t, outside.dir)
	relay.awaitLog(t, "permission denied")
	require.Contains(t, relay.await(t, pod.UID, http.StatusOK), sidecarPage, "with the certificate from before")

	serial := inside.issue(t)
	eventually(t, func() error { return relay.serves(serial) })
}

// TestConfinedWithANewToken: the relay reads its own token again when the kubelet has renewed it.
func TestConfinedWithANewToken(t *testing.T) {
	namespace := apiServer.Namespace(t, "renewed", nil)
	mount := newMount(t)
	mount.write(t, map[string][]byte{
		"ca.crt": apiServer.Config.CAData, "token": []byte(account(t, namespace, "old", "system:auth-delegator")),
	})
	kubelet, secret := newKubelet(t), newSecret(t)
	secret.issue(t)
	relay := startRelay(t, setup{kubelet: kubelet, account: mount.dir, args: secret.flags()})
	confined(t, relay)
	relay.scheme, relay.client = "https", secret.client(t)
	pod := addPod(t, kubelet)
	startSidecar(t, pod)
	scrape := func(name string) {
		t.Helper()
		token := "Bearer " + account(t, namespace, name, role(t, "/metrics/vmis"))
		eventually(t, func() error { return expect(relay, http.StatusOK, podPath(pod.UID), "Authorization", token) })
	}
	scrape("first")
	mount.write(t, map[string][]byte{
		"ca.crt": apiServer.Config.CAData, "token": []byte(account(t, namespace, "new", "system:auth-delegator")),
	})
	require.NoError(t, apiServer.Client.CoreV1().ServiceAccounts(namespace).Delete(t.Context(), "old", metav1.DeleteOptions{}))
	scrape("second")
}

// TestStatusOfThePod: a pod that answers 401 or 403 does not speak for the relay, which asks for
// no token here.
func TestStatusOfThePod(t *testing.T) {
	kubelet := newKubelet(t)
	relay := startRelay(t, setup{kubelet: kubelet})
	for _, answer := range []int{401, 403, 429, 302, 500} {
		pod := addPod(t, kubelet)
		listener, err := pod.Listen()
		require.NoError(t, err)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://localhost/")
			w.WriteHeader(answer)
		})}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close() })
		code, text, err := relay.get(podPath(pod.UID))
		require.NoError(t, err)
		require.Equal(t, http.StatusBadGateway, code, answer)
		require.Equal(t, fmt.Sprintf("the pod answered with a status other than 200: %d\n", answer), text)
	}
}

package clustertest

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// inPod runs a command where it finds its service account and its hosts as in a pod: in a mount namespace, since
// client-go and the resolver read fixed paths. setpriv: unshare loses the signal that ends it with the test.
const inPod = `set -e
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io
ln -s "$1" /run/secrets/kubernetes.io/serviceaccount
mount --bind "$2" /etc/hosts
shift 2
exec setpriv --pdeathsig KILL "$@"`

// replicaAddresses stand for the pod network: there every replica has an address of its own and they share a port.
var replicaAddresses = []string{"127.0.0.2", "127.0.0.3"}

// startCerts starts `webhook certs` as the manifest does, with the service account's own rights. further flags are
// appended. It finds the replicas by the headless Service's name, at replicaPort.
func startCerts(t *testing.T, replicaPort int, further ...string) {
	t.Helper()
	account, hosts := t.TempDir(), filepath.Join(t.TempDir(), "hosts")
	for name, content := range map[string][]byte{
		"token":     []byte(server.Token(t, productNamespace, "hypervisor-exporter-certs")),
		"ca.crt":    server.Config.CAData,
		"namespace": []byte(productNamespace),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(account, name), content, 0o600))
	}
	var entries strings.Builder
	for _, address := range replicaAddresses {
		fmt.Fprintf(&entries, "%s %s-replicas.%s.svc\n", address, serviceName, productNamespace)
	}
	require.NoError(t, os.WriteFile(hosts, []byte(entries.String()), 0o600))

	arguments := append(argumentsOf(t, "hypervisor-exporter-certs"),
		fmt.Sprintf("--replica-port=%d", replicaPort),
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", freePort(t)),
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", freePort(t)))
	command := append([]string{"--mount", "sh", "-c", inPod, "sh", account, hosts, program(t, "webhook")}, arguments...)
	if os.Getuid() != 0 {
		command = append([]string{"--map-root-user"}, command...)
	}
	api, err := url.Parse(server.Config.Host)
	require.NoError(t, err)
	unshare := exec.Command("unshare", append(command, further...)...)
	unshare.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST="+api.Hostname(), "KUBERNETES_SERVICE_PORT="+api.Port())
	start(t, unshare)
}

// forward passes connections to each of replicaAddresses, at one port, on to the port of one replica.
func forward(t *testing.T, replicas []*replica) (port int) {
	t.Helper()
	port = freePort(t)
	for i, address := range replicaAddresses {
		listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		require.NoError(t, err)
		var running sync.WaitGroup
		running.Go(func() {
			for {
				from, err := listener.Accept()
				if err != nil {
					return
				}
				running.Go(func() { splice(from, fmt.Sprintf("127.0.0.1:%d", replicas[i].port)) })
			}
		})
		t.Cleanup(func() { _ = listener.Close(); running.Wait() })
	}
	return port
}

// splice joins the connection with one to the address until the side that dialled ends.
func splice(from net.Conn, address string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(from, to) })
	_, _ = io.Copy(to, from)
	_ = to.Close()
	answers.Wait()
}

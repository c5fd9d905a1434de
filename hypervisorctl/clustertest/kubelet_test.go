package clustertest

import (
	"crypto/tls"
	"fmt"
	"io"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// kubelet is the streaming server of a kubelet: it runs only the sidecar's command, and forwards to one port.
type kubelet struct {
	// page is what the command prints; empty makes it fail.
	page string
	// log is what the containers of a pod have printed; empty if they have not started.
	log string
	// forward is the address that a pod's port is forwarded to.
	forward string

	mu       sync.Mutex
	commands []string
}

// serveKubelet starts a kubelet and creates its node.
func serveKubelet(t *testing.T, node string, k *kubelet) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.exec)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.portForward)
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		if k.log == "" {
			http.Error(w, `container "relay" in pod "relay-5" is waiting to start: ContainerCreating`, http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, k.log)
	})
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS() // for its certificate alone
	defer certificate.Close()
	port := serve(t, mux, &tls.Config{Certificates: certificate.TLS.Certificates, NextProtos: []string{"http/1.1"}})
	createNode(t, node, "amd64", "1k", apiservertest.MachineAddress(t), int32(port))
}

// upgrade accepts SPDY, as every kubelet does.
func upgrade(w http.ResponseWriter, r *http.Request, protocol string) (httpstream.Connection, <-chan httpstream.Stream) {
	if _, err := httpstream.Handshake(r, w, []string{protocol}); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, nil
	}
	streams := make(chan httpstream.Stream, 8)
	connection := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, _ <-chan struct{}) error {
		streams <- stream
		return nil
	})
	return connection, streams
}

func (k *kubelet) exec(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.commands = append(k.commands, r.PathValue("container")+": "+strings.Join(r.URL.Query()["command"], " "))
	k.mu.Unlock()
	connection, streams := upgrade(w, r, "v4.channel.k8s.io")
	if connection == nil {
		return
	}
	defer func() { _ = connection.Close() }()
	byType := map[string]httpstream.Stream{}
	for len(byType) < 3 { // error, stdout, stderr
		select {
		case stream := <-streams:
			byType[stream.Headers().Get("streamType")] = stream
		case <-connection.CloseChan():
			return
		}
	}
	status := `{"metadata":{},"status":"Success"}`
	if k.page == "" {
		_, _ = io.WriteString(byType["stderr"], "sidecar: unexpected show\n\x1b[2J")
		status = `{"metadata":{},"status":"Failure","reason":"NonZeroExitCode","message":"command terminated with exit code 64","details":{"causes":[{"reason":"ExitCode","message":"64"}]}}`
	}
	_, _ = io.WriteString(byType["stdout"], k.page)
	_, _ = io.WriteString(byType["error"], status)
	for _, stream := range byType {
		_ = stream.Close()
	}
	<-connection.CloseChan()
}

func (k *kubelet) portForward(w http.ResponseWriter, r *http.Request) {
	connection, streams := upgrade(w, r, "portforward.k8s.io")
	if connection == nil {
		return
	}
	defer func() { _ = connection.Close() }()
	for {
		select {
		case stream := <-streams:
			if stream.Headers().Get("streamType") == "data" {
				go k.carry(stream)
			} else {
				defer func() { _ = stream.Close() }()
			}
		case <-connection.CloseChan():
			return
		}
	}
}

func (k *kubelet) carry(stream httpstream.Stream) {
	defer func() { _ = stream.Close() }()
	relay, err := net.Dial("tcp", k.forward)
	if err != nil {
		return
	}
	defer func() { _ = relay.Close() }()
	go func() {
		_, _ = io.Copy(relay, stream)
		_ = relay.(*net.TCPConn).CloseWrite() // or the relay would keep it, and this kubelet a goroutine
	}()
	_, _ = io.Copy(stream, relay)
}

// page returns the page of the VM's sidecar.
func page(namespace, name, kind string) string {
	return fmt.Sprintf(`# TYPE kubevirt_vmi_hypervisor_info gauge
kubevirt_vmi_hypervisor_info{hypervisor_type=%[3]q,name=%[2]q,namespace=%[1]q,node="node-9"} 1
# TYPE kubevirt_vmi_hypervisor_domain_info gauge
kubevirt_vmi_hypervisor_domain_info{arch="x86_64",domain_type="kvm",hypervisor_version="7.2.22",libvirt_version="9.0.0",machine="pc-q35-7.2",name=%[2]q,namespace=%[1]q,node="node-9"} 1
`, namespace, name, kind)
}

func TestExec(t *testing.T) {
	define(t)
	namespace := server.Namespace(t, "exec", labelled())
	testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-9"}.create(t)
	k := &kubelet{page: page(namespace, "web", "kvm")}
	serveKubelet(t, "node-9", k)
	owner := as("owner-of-"+namespace, "system:authenticated")
	require.NoError(t, grant(t, namespace, "owner-of-"+namespace, []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "get", "list"))

	t.Run("without the right", func(t *testing.T) {
		got := callAs(t, owner, "list", "-n", namespace, "--source=exec", "-o", "yaml")
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, "reason: not_found_out")
		require.Contains(t, got.out, "kubectl auth can-i create")
		require.Empty(t, k.commands)
	})
	require.NoError(t, grant(t, namespace, "owner-of-"+namespace, []string{""}, []string{"pods/exec"}, "create"))
	t.Run("not by default", func(t *testing.T) {
		got := callAs(t, owner, "list", "-n", namespace)
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.err, "note: no types: the relay cannot be used: ")
		require.Empty(t, k.commands)
	})
	t.Run("a namespace's owner", func(t *testing.T) {
		got := callAs(t, owner, "list", "-n", namespace, "--source=exec", "-o", "wide")
		require.Zero(t, got.code, got.err)
		require.Regexp(t, `web +kvm +kvm +node-9 +running .* 7\.2\.22 +9\.0\.0 .* exec `, got.out)
		require.Equal(t, []string{"hypervisor-exporter: /sidecar show"}, k.commands)
	})
	t.Run("a sidecar without that command", func(t *testing.T) {
		k.page = ""
		got := call(t, administrator(t), "list", "-n", namespace, "--source=exec", "-o", "yaml")
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, "exit code 64")
		require.NotContains(t, got.out, "\x1b")
	})
	t.Run("a page that is too large", func(t *testing.T) {
		k.page = strings.Repeat("# x\n", 1<<18)
		got := call(t, administrator(t), "list", "-n", namespace, "--source=exec", "-o", "yaml")
		require.Contains(t, got.out, "the sidecar prints more than a page of metrics")
	})
}

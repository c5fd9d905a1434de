// Package apiservertest starts a real kube-apiserver on a real etcd for tests, as net/http/httptest starts a server.
//
// There is no scheduler, controller or kubelet: a pod that is created stays Pending, and what a controller would make
// (a namespace's default service account, a Service's EndpointSlices) is made by the helpers of this package.
package apiservertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// startPatience is how long etcd and the API server together may take to be ready; 5 s is usual.
const startPatience = 90 * time.Second

// Server is a running kube-apiserver, with authorization RBAC and every default admission plugin. Its methods may be
// called from many goroutines.
type Server struct {
	// Config is the cluster administrator's way in. It has no client-side rate limit.
	Config *rest.Config
	// Client speaks with Config.
	Client kubernetes.Interface

	dynamic   dynamic.Interface
	mapper    *restmapper.DeferredDiscoveryRESTMapper
	processes []*testkit.Process
	// serviceAccountKey signs service accounts' tokens.
	serviceAccountKey *ecdsa.PrivateKey
}

// Run starts one server for all tests of a package, passes it to use, runs the tests and ends it:
//
//	func TestMain(m *testing.M) { os.Exit(apiservertest.Run(m, func(s *apiservertest.Server) { server = s })) }
func Run(m *testing.M, use func(*Server)) int {
	dir, err := os.MkdirTemp("", "apiservertest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := Start(context.Background(), dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	use(server)
	return m.Run()
}

// Start starts etcd and kube-apiserver with their state in dir and returns when the API server is ready. It gets the
// further flags last.
func Start(ctx context.Context, dir string, further ...string) (*Server, error) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return nil, fmt.Errorf("no etcd to keep the API server's objects (apt-get install etcd-server): %w", err)
	}
	binary, err := Binary(ctx)
	if err != nil {
		return nil, err
	}
	const attempts = 3 // a port that was free may be taken when the program listens on it
	var failures []error
	for range attempts {
		state, err := os.MkdirTemp(dir, "")
		if err != nil {
			return nil, fmt.Errorf("make a folder for the API server's state: %w", err)
		}
		server, err := start(ctx, state, etcd, binary, further)
		if err == nil {
			return server, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// Stop ends the API server and etcd. Their state is not needed afterwards, so they are killed.
func (s *Server) Stop() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].Kill()
	}
}

func start(ctx context.Context, dir, etcd, binary string, further []string) (_ *Server, err error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	server := &Server{}
	defer func() {
		if err != nil {
			server.Stop()
		}
	}()
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if server.serviceAccountKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, fmt.Errorf("make the key of service accounts: %w", err)
	}
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	if err := server.add(testkit.Start(filepath.Join(dir, "etcd.log"), exec.Command(etcd, etcdFlags(dir, etcdURL)...))); err != nil {
		return nil, err
	}
	if err := server.await(ctx, answers(ctx, http.DefaultClient, etcdURL+"/health")); err != nil {
		return nil, err
	}
	flags, token, err := server.apiserverFlags(dir, etcdURL, ports[1])
	if err != nil {
		return nil, err
	}
	if err := server.add(testkit.Start(filepath.Join(dir, "kube-apiserver.log"), exec.Command(binary, append(flags, further...)...))); err != nil {
		return nil, err
	}
	// The API server makes a certificate for itself when it starts, and its key last.
	if err := server.await(ctx, func() bool { _, err := os.Stat(filepath.Join(dir, "apiserver.key")); return err == nil }); err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "apiserver.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the API server's certificate: %w", err)
	}
	server.Config = &rest.Config{
		Host:            fmt.Sprintf("https://127.0.0.1:%d", ports[1]),
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
		QPS:             -1,
	}
	return server, server.connect(ctx)
}

func (s *Server) add(process *testkit.Process, err error) error {
	if err == nil {
		s.processes = append(s.processes, process)
	}
	return err
}

func (s *Server) connect(ctx context.Context) error {
	web, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	if err := s.await(ctx, answers(ctx, web, s.Config.Host+"/readyz")); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfigAndClient(s.Config, web)
	if err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	if s.dynamic, err = dynamic.NewForConfigAndClient(s.Config, web); err != nil {
		return fmt.Errorf("make a client of the API server: %w", err)
	}
	s.Client = client
	s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	return nil
}

// await asks until the answer is true, the newest process ends or the context is over.
func (s *Server) await(ctx context.Context, ready func() bool) error {
	process := s.processes[len(s.processes)-1]
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-ticker.C:
		case <-process.Ended():
			return fmt.Errorf("%s ended with exit code %d:\n%s", process.Path(), process.ExitCode(), process.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w:\n%s", process.Path(), ctx.Err(), process.LogTail())
		}
	}
	return nil
}

// answers returns whether a GET of the URL is answered with 200.
func answers(ctx context.Context, web *http.Client, url string) func() bool {
	return func() bool {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false
		}
		response, err := web.Do(request)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
}

func etcdFlags(dir, clientURL string) []string {
	return []string{
		"--data-dir=" + filepath.Join(dir, "etcd"),
		"--listen-client-urls=" + clientURL,
		"--advertise-client-urls=" + clientURL,
		"--listen-peer-urls=http://127.0.0.1:0",
		"--unsafe-no-fsync", // nothing is to survive
		// The API server's watch caches learn by these how far they have come. It would ask for them when a watch
		// begins, but not with an etcd before 3.4.25 (k8s.io/apiserver pkg/storage/feature), as Debian 12 has: such a
		// watch ended with "Too large resource version" until something happened to be written.
		"--experimental-watch-progress-notify-interval=100ms",
	}
}

// apiserverFlags writes what the flags name into dir, and returns them with the administrator's token.
func (s *Server) apiserverFlags(dir, etcdURL string, port int) (flags []string, token string, err error) {
	token = rand.Text()
	tokens, key := filepath.Join(dir, "tokens.csv"), filepath.Join(dir, "service-accounts.key")
	if err := os.WriteFile(tokens, []byte(token+`,admin,admin,"system:masters"`+"\n"), 0o600); err != nil {
		return nil, "", fmt.Errorf("write the administrator's token: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(s.serviceAccountKey)
	if err != nil {
		return nil, "", fmt.Errorf("encode the key of service accounts: %w", err)
	}
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, "", fmt.Errorf("write the key of service accounts: %w", err)
	}
	return []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1",
		// The master's lease publishes this address as an endpoint of "kubernetes", where loopback is not allowed;
		// nothing here uses it (TEST-NET-1).
		"--advertise-address=192.0.2.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--cert-dir=" + dir,
		"--token-auth-file=" + tokens,
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + key,
		"--service-account-key-file=" + key,
		"--service-cluster-ip-range=10.96.0.0/16",
		// Webhooks named by Service are called at a ready address of its EndpointSlices, picked by the API server
		// itself: no kube-proxy is needed.
		"--enable-aggregator-routing=true",
	}, token, nil
}

// freePorts returns TCP ports of 127.0.0.1 that nothing listened on a moment ago.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }() // only now, or the same port could come twice
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

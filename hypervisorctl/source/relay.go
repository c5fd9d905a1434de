package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/internal/contract"
)

// RelayConfig is how to reach the relays.
type RelayConfig struct {
	// Config is the user's way to the API server, for the port-forward. Relays never get credentials from it.
	Config *rest.Config
	// Namespace of the relay's pods.
	Namespace string
	Trust     cluster.RelayTrust
	// Pods are the names of the relay's pods, by node.
	Pods map[string]string
	// Token returns a token that is good for the relay and nothing else. It is not called without TLS.
	Token func(context.Context) (string, error)
}

// Relay reads the sidecar's page from the relay of the VMI's node, through one port-forward for each node. The API server's
// pod proxy does not work: it removes the Authorization header (k8s.io/apiserver pkg/endpoints/filters/authentication.go).
type Relay struct {
	config RelayConfig

	mu    sync.Mutex
	nodes map[string]*node
}

// node is the connection to one node's relay. It is opened once, also if that fails.
type node struct {
	open   sync.Once
	tunnel *tunnel
	client *http.Client
	err    error
}

// NewRelay returns the source; it connects to nothing yet.
func NewRelay(config RelayConfig) *Relay {
	config.Config = rest.CopyConfig(config.Config)
	config.Config.Timeout = 0 // it would end the tunnel
	return &Relay{config: config, nodes: map[string]*node{}}
}

// Name implements Source.
func (r *Relay) Name() string { return "relay" }

// Find implements Source.
func (r *Relay) Find(ctx context.Context, target Target) (Finding, error) {
	return findOnPage(ctx, target, r.page)
}

// page reads a page from the relay of the pod's node.
func (r *Relay) page(ctx context.Context, launcher vm.Launcher) ([]byte, error) {
	node, err := r.node(ctx, launcher.Node)
	if err != nil {
		return nil, err
	}
	request, err := r.request(ctx, launcher.UID)
	if err != nil {
		return nil, err
	}
	response, err := node.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // nothing was written
	body, err := io.ReadAll(io.LimitReader(response.Body, largestPage+1))
	if err != nil {
		return nil, fmt.Errorf("read the sidecar's page: %w", err)
	}
	return body, refusal(response, body)
}

// node opens the tunnel to a node's relay, once.
func (r *Relay) node(ctx context.Context, name string) (*node, error) {
	pod, known := r.config.Pods[name]
	if !known {
		return nil, fmt.Errorf("no relay runs on node %s", name)
	}
	r.mu.Lock()
	to := r.nodes[name]
	if to == nil {
		to = &node{}
		r.nodes[name] = to
	}
	r.mu.Unlock()
	to.open.Do(func() {
		if to.tunnel, to.err = openTunnel(ctx, r.config.Config, r.config.Namespace, pod, cluster.RelayPort); to.err != nil {
			to.err = &UnaskedError{to.err}
			return
		}
		to.client, to.err = r.client(to.tunnel.address)
	})
	return to, to.err
}

// client connects through the tunnel, to the relay and nothing else.
func (r *Relay) client(address string) (*http.Client, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		MaxConnsPerHost: 2, // a page takes milliseconds
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !r.config.Trust.HTTPS {
		return client, nil
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM(r.config.Trust.CA) {
		return nil, errors.New("the relay's CA contains no certificate")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: ca, ServerName: r.config.Trust.ServerName, MinVersion: tls.VersionTLS12}
	return client, nil
}

func (r *Relay) request(ctx context.Context, uid string) (*http.Request, error) {
	scheme := "http"
	if r.config.Trust.HTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+cluster.Relay+"/pods/"+uid+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	if !r.config.Trust.HTTPS {
		return request, nil
	}
	token, err := r.config.Token(ctx)
	if err != nil {
		return nil, &UnaskedError{err}
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return request, nil
}

// podAnswered is how relays of earlier releases begin the text of a pod's own status.
const podAnswered = "the pod answered with status "

// refusal returns the error for a status. It is about this pod alone: relays of earlier releases pass on a pod's own 401
// and 403, so one answer must not stop the requests for other pods. Only the relay's own 401 has a challenge, and a pod's
// 403 always has the text podAnswered.
func refusal(response *http.Response, body []byte) error {
	text, _, _ := strings.Cut(string(body), "\n")
	switch {
	case response.StatusCode == http.StatusOK:
		return nil
	case response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") != "":
		return &UnaskedError{fmt.Errorf("the relay does not accept tokens for the audience %s: upgrade it to the release of this hypervisorctl", contract.RelayAudience)}
	case response.StatusCode == http.StatusForbidden && !strings.HasPrefix(text, podAnswered):
		return &UnaskedError{fmt.Errorf("the relay answered 403: %s (the ServiceAccount %s must be allowed to get %s: "+
			"apply manifests/relay/scraper.yaml again)", printable(text), cluster.Scraper, cluster.RelayPath)}
	default:
		return fmt.Errorf("the relay answered %d: %s", response.StatusCode, printable(text))
	}
}

// Close implements Source.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, to := range r.nodes {
		if to.client != nil {
			to.client.CloseIdleConnections()
		}
		if to.tunnel != nil {
			to.tunnel.close()
		}
	}
}

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
	"time"

	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

// relayPatience is what one page may take; the relay's own deadline for a pod is shorter.
const relayPatience = 15 * time.Second

// Relay asks the relay of the VMI's node for the sidecar's page, through a port-forward for each node. The API server's
// pod proxy would not do: it takes the Authorization header off before it passes a request on (k8s.io/apiserver
// pkg/endpoints/filters/authentication.go), and the relay wants to know who asks.
type Relay struct {
	config    *rest.Config
	namespace string
	trust     cluster.RelayTrust
	pods      map[string]string // the relay's pod of each node

	mu      sync.Mutex
	nodes   map[string]*node
	refused error // what holds for all nodes
}

// node is the way to one node's relay; it is opened once, also where that fails.
type node struct {
	open   sync.Once
	tunnel *tunnel
	client *http.Client
	err    error
}

// NewRelay makes the source. The configuration is the user's; his token is sent to a relay that proves to be one, and
// to none where the installation has no TLS. Pods has the name of the relay's pod on each node.
func NewRelay(config *rest.Config, namespace string, trust cluster.RelayTrust, pods map[string]string) *Relay {
	streaming := rest.CopyConfig(config)
	streaming.Timeout = 0 // it would end the tunnel
	return &Relay{config: streaming, namespace: namespace, trust: trust, pods: pods, nodes: map[string]*node{}}
}

// Name implements Source.
func (r *Relay) Name() string { return "relay" }

// Look implements Source.
func (r *Relay) Look(ctx context.Context, target Target) (Finding, error) {
	if !target.Launcher.Sidecar.Socket {
		return Finding{}, errors.New("the sidecar has no socket for the relay")
	}
	ctx, cancel := context.WithTimeout(ctx, relayPatience)
	defer cancel()
	way, err := r.way(ctx, target.Launcher.Node)
	if err != nil {
		return Finding{}, err
	}
	page, err := r.get(ctx, way.client, target.Launcher.UID)
	if err != nil {
		return Finding{}, err
	}
	return Parse(page, target.VMI.Key())
}

// way opens the tunnel to a node's relay, once.
func (r *Relay) way(ctx context.Context, name string) (*node, error) {
	pod, known := r.pods[name]
	if !known {
		return nil, fmt.Errorf("no relay runs on node %s", name)
	}
	r.mu.Lock()
	if r.refused != nil {
		defer r.mu.Unlock()
		return nil, r.refused
	}
	way := r.nodes[name]
	if way == nil {
		way = &node{}
		r.nodes[name] = way
	}
	r.mu.Unlock()
	way.open.Do(func() {
		if way.tunnel, way.err = openTunnel(ctx, r.config, r.namespace, pod, product.RelayPort); way.err == nil {
			way.client, way.err = r.client(way.tunnel.address)
		}
	})
	return way, way.err
}

// client speaks through the tunnel, as the user and to the relay only.
func (r *Relay) client(address string) (*http.Client, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		MaxConnsPerHost: 2, // of the pods' pages, each takes milliseconds
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if !r.trust.HTTPS {
		return client, nil // and without a token
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(r.trust.Authority) {
		return nil, errors.New("the relay's authority holds no certificate")
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: authorities, ServerName: r.trust.ServerName, MinVersion: tls.VersionTLS12}
	credentials := rest.CopyConfig(r.config)
	credentials.Impersonate = rest.ImpersonationConfig{} // the relay knows no such thing
	wrapped, err := rest.HTTPWrappersForConfig(credentials, transport)
	if err != nil {
		return nil, fmt.Errorf("read your credentials: %w", err)
	}
	client.Transport = wrapped
	return client, nil
}

func (r *Relay) get(ctx context.Context, client *http.Client, uid string) ([]byte, error) {
	scheme := "http"
	if r.trust.HTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+product.Relay+"/pods/"+uid+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // nothing was written
	body, err := io.ReadAll(io.LimitReader(response.Body, largestPage+1))
	if err != nil {
		return nil, fmt.Errorf("read the sidecar's page: %w", err)
	}
	return body, r.judge(response.StatusCode, body)
}

// judge makes an error of a status. One that is about the user holds for every node, so that nobody else is asked.
func (r *Relay) judge(status int, body []byte) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return r.refuse(errors.New("it wants a bearer token, which your kubeconfig does not give, or not one that the API server knows"))
	case http.StatusForbidden:
		return r.refuse(fmt.Errorf("you may not get %s (try: kubectl auth can-i get %s)", product.RelayPath, product.RelayPath))
	default:
		text, _, _ := strings.Cut(string(body), "\n")
		return fmt.Errorf("it answered %d: %s", status, printable(text))
	}
}

func (r *Relay) refuse(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
	return err
}

// Close implements Source. Look must not be under way.
func (r *Relay) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, way := range r.nodes {
		if way.client != nil {
			way.client.CloseIdleConnections()
		}
		if way.tunnel != nil {
			way.tunnel.close()
		}
	}
}

package source

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"kubevirt-hypervisor-exporter/internal/contract"
)

// RelayConfig is how to reach the relays.
type RelayConfig struct {
	// Config and Cluster are the user's way to the API server, for the port-forward. Relays never get credentials from it.
	Config  *rest.Config
	Cluster *cluster.Cluster
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
	client *http.Client
	// tunnel opens the tunnel to a pod once, also if that fails.
	tunnel func(ctx context.Context, pod string) tunnel
	// node reads the page of a relay itself once, by its pod.
	node func(ctx context.Context, pod string) Node
	// stop ends the tunnels, which running counts.
	stop    chan struct{}
	running sync.WaitGroup
}

// tunnel is a port on this machine's loopback that ends at the port of a relay, like kubectl port-forward.
type tunnel struct {
	address string
	err     error
}

// NewRelay returns the source; it connects to nothing yet.
func NewRelay(config RelayConfig) (Source, error) {
	config.Config = rest.CopyConfig(config.Config)
	config.Config.Timeout = 0                        // it would end the tunnel
	transport := &http.Transport{MaxConnsPerHost: 2} // a page takes milliseconds
	if config.Trust.HTTPS {
		ca := x509.NewCertPool()
		if !ca.AppendCertsFromPEM(config.Trust.CA) {
			return nil, errors.New("the relay's CA contains no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: ca, ServerName: config.Trust.ServerName, MinVersion: tls.VersionTLS12}
	}
	r := &Relay{config: config, stop: make(chan struct{}), client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	r.tunnel = cluster.Once(func(ctx context.Context, pod string) tunnel {
		address, err := r.open(ctx, pod)
		if err != nil {
			err = &UnaskedError{fmt.Errorf("forward a port to pod %s: %w", pod, err)}
		}
		return tunnel{address, err}
	})
	r.node = cluster.Once(r.readNode)
	return r, nil
}

// Name implements Source.
func (r *Relay) Name() string { return "relay" }

// Close implements Source.
func (r *Relay) Close() {
	r.client.CloseIdleConnections()
	close(r.stop)
	r.running.Wait()
}

// Find implements Source.
func (r *Relay) Find(ctx context.Context, target Target) (Finding, error) {
	found, err := findOnPage(ctx, target, r.page)
	if err == nil {
		found.Node = r.node(ctx, r.config.Pods[target.Launcher.Node])
	}
	return found, err
}

// page reads a VM's page from the relay of the pod's node.
func (r *Relay) page(ctx context.Context, launcher vm.Launcher) ([]byte, error) {
	pod, known := r.config.Pods[launcher.Node]
	if !known {
		return nil, fmt.Errorf("no relay runs on node %s", launcher.Node)
	}
	return r.get(ctx, pod, "/pods/"+launcher.UID+"/metrics")
}

// readNode reads what a relay reports about its node. Nothing is known from a relay of an earlier release, or from one that
// does not answer.
func (r *Relay) readNode(ctx context.Context, pod string) Node {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	page, err := r.get(ctx, pod, "/metrics")
	if err != nil {
		return Node{}
	}
	families, err := familiesOf(page)
	if err != nil {
		return Node{}
	}
	for _, metric := range families[nodeMetric].GetMetric() {
		return nodeOf(&series{labels: labelsOf(metric)})
	}
	return Node{}
}

// get reads a page of a relay.
func (r *Relay) get(ctx context.Context, pod, path string) ([]byte, error) {
	to := r.tunnel(ctx, pod)
	if to.err != nil {
		return nil, to.err
	}
	request, err := r.request(ctx, to.address, path)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
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

func (r *Relay) request(ctx context.Context, address, path string) (*http.Request, error) {
	scheme, header := "http", http.Header{"Accept": {"text/plain; version=0.0.4"}}
	if r.config.Trust.HTTPS {
		scheme = "https"
		token, err := r.config.Token(ctx)
		if err != nil {
			return nil, &UnaskedError{err}
		}
		header.Set("Authorization", "Bearer "+token)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	request.Host, request.Header = cluster.Relay, header
	return request, nil
}

// open opens a tunnel through the API server. It lasts until Close, or until the API server, the kubelet or the pod ends
// it. It uses WebSockets, or SPDY if the API server is older than 1.31 or a proxy is in between, as kubectl does.
func (r *Relay) open(ctx context.Context, pod string) (address string, err error) {
	target := r.config.Cluster.CoreV1().RESTClient().Post().Namespace(r.config.Namespace).Resource("pods").Name(pod).SubResource("portforward").URL()
	sockets, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, r.config.Config)
	if err != nil {
		return "", err
	}
	transport, upgrader, err := spdy.RoundTripperFor(r.config.Config)
	if err != nil {
		return "", err
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, target)
	dialer := portforward.NewFallbackDialerForStreaming(sockets, older, olderServer)
	ready, ended := make(chan struct{}), make(chan error, 1)
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", cluster.RelayPort)},
		r.stop, ready, io.Discard, io.Discard)
	if err != nil {
		return "", err
	}
	r.running.Go(func() { ended <- forwarder.ForwardPorts() })
	select {
	case <-ready:
	case err := <-ended:
		return "", cmp.Or(err, errors.New("it ended"))
	case <-ctx.Done():
		return "", ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0].Local), nil
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

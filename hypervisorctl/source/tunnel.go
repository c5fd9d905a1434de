package source

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// podURL is the address of a pod's subresource.
func podURL(config *rest.Config, namespace, pod, subresource string) (*url.URL, error) {
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("read the API server's address: %w", err)
	}
	return base.JoinPath("api", "v1", "namespaces", namespace, "pods", pod, subresource), nil
}

// tunnel is a port on this machine's loopback that ends at a port of a pod, like kubectl port-forward.
type tunnel struct {
	address string
	stop    chan struct{}
	ended   chan struct{}
	err     error // how it ended; read after ended is closed
}

// openTunnel opens a tunnel through the API server. It lasts until close, or until the API server, the kubelet or the pod
// ends it.
func openTunnel(ctx context.Context, config *rest.Config, namespace, pod string, port int) (*tunnel, error) {
	dialer, err := tunnelDialer(config, namespace, pod)
	if err != nil {
		return nil, err
	}
	t := &tunnel{stop: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan struct{})
	forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, t.stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, fmt.Errorf("forward a port to pod %s: %w", pod, err)
	}
	go func() {
		defer close(t.ended)
		t.err = forwarder.ForwardPorts()
	}()
	select {
	case <-ready:
	case <-t.ended:
		return nil, fmt.Errorf("forward a port to pod %s: %w", pod, t.err)
	case <-ctx.Done():
		close(t.stop)
		return nil, fmt.Errorf("forward a port to pod %s: %w", pod, ctx.Err())
	}
	ports, err := forwarder.GetPorts()
	if err != nil || len(ports) != 1 {
		t.close()
		return nil, fmt.Errorf("forward a port to pod %s: no port was opened: %w", pod, err)
	}
	t.address = fmt.Sprintf("127.0.0.1:%d", ports[0].Local)
	return t, nil
}

func (t *tunnel) close() {
	close(t.stop)
	<-t.ended
}

// tunnelDialer uses WebSockets, or SPDY if the API server is older than 1.31 or a proxy is in between, as kubectl does.
func tunnelDialer(config *rest.Config, namespace, pod string) (httpstream.Dialer, error) {
	target, err := podURL(config, namespace, pod, "portforward")
	if err != nil {
		return nil, err
	}
	sockets, err := portforward.NewSPDYOverWebsocketDialerForStreaming(target, config)
	if err != nil {
		return nil, fmt.Errorf("create a client for port-forward: %w", err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("create a client for port-forward: %w", err)
	}
	older := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, "POST", target)
	return portforward.NewFallbackDialerForStreaming(sockets, older, olderServer), nil
}

// olderServer reports whether an upgrade failed in a way that the older protocol may not. A missing right is one: WebSockets
// begin with a GET, for which the API server requires the verb get in addition to create; SPDY begins with a POST, for
// which create is enough (measured with Kubernetes 1.36).
func olderServer(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err) ||
		apierrors.IsForbidden(err) || strings.Contains(err.Error(), "is forbidden: ")
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	clienttransport "k8s.io/client-go/transport"
)

// transport carries what Prometheus wants to know of who asks. It is not prometheus/common/config's, through which
// golang.org/x/net/trace and its templates make the linker keep every method of every Kubernetes type.
func (p prometheusFlags) transport(timeout time.Duration) (http.RoundTripper, error) {
	if p.url == "" {
		return nil, errors.New("--source=prometheus: give --prometheus-url too")
	}
	base := &http.Transport{Proxy: http.ProxyFromEnvironment}
	if p.caFile != "" {
		authorities, err := authorities(p.caFile)
		if err != nil {
			return nil, err
		}
		base.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	}
	if p.tokenFile == "" {
		return patient{base, timeout}, nil
	}
	withToken, err := clienttransport.NewBearerAuthWithRefreshRoundTripper("", p.tokenFile, base)
	if err != nil {
		return nil, fmt.Errorf("--prometheus-token-file: %w", err)
	}
	return patient{withToken, timeout}, nil
}

func authorities(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--prometheus-ca-file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("--prometheus-ca-file %s holds no certificate", file)
	}
	return pool, nil
}

// patient ends a request that takes too long, its answer included.
type patient struct {
	http.RoundTripper
	timeout time.Duration
}

// RoundTrip implements http.RoundTripper.
func (p patient) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(request.Context(), p.timeout)
	response, err := p.RoundTripper.RoundTrip(request.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = &cancelled{response.Body, cancel}
	return response, nil
}

// cancelled frees the deadline with the body.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (c *cancelled) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

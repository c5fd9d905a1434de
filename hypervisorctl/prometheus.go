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

// transport carries the credentials for Prometheus. It is not prometheus/common/config's: that imports
// golang.org/x/net/trace, whose templates make the linker keep every method of every Kubernetes type.
func (p prometheusFlags) transport(timeout time.Duration) (http.RoundTripper, error) {
	if p.url == "" {
		return nil, errors.New("--source=prometheus needs --prometheus-url")
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
		return nil, fmt.Errorf("--prometheus-ca-file %s has no certificate", file)
	}
	return pool, nil
}

// patient ends a request that takes too long, including its answer.
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

// cancelled frees the timer when the body is closed.
type cancelled struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (c *cancelled) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

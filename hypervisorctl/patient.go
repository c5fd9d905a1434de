package main

import (
	"context"
	"io"
	"net/http"
	"time"
)

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

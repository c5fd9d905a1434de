package flood

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// honest is the address of the clients that are at work beside a flood.
const honest = "127.0.0.200"

// shared is an address of the flood that an honest client has too, as behind NAT.
const shared = "127.0.0.2"

// clientTimeout is Prometheus' default scrape timeout, and what the kubelet's probes and an
// API server would wait at most ten times over.
const clientTimeout = 10 * time.Second

// work is one request that must be answered.
type work func(ctx context.Context) error

// newClient keeps its connections, as Prometheus and API servers do, or not, as the
// kubelet does.
func newClient(p port, keep bool) *http.Client { return newClientFrom(honest, p, keep) }

func newClientFrom(address string, p port, keep bool) *http.Client {
	dialer := &net.Dialer{}
	if p.network == "tcp" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	return &http.Client{Timeout: clientTimeout, Transport: &http.Transport{
		DisableKeepAlives: !keep,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whose certificate it is does not matter here
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, p.network, p.address)
		},
	}}
}

// errOtherAnswer is the error for an answer that is not the wanted one.
var errOtherAnswer = errors.New("another answer")

// request asks once; any answer but 200 with the wanted text in it is an error.
func request(p port, client *http.Client, method, path, token, body, want string) work {
	scheme := "http"
	if p.encrypted {
		scheme = "https"
	}
	return func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, method, scheme+"://program"+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		if body == "" {
			r.Body, r.ContentLength = nil, 0
		} else {
			r.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %.200s", response.Status, text)
		}
		if err == nil && !strings.Contains(string(text), want) {
			err = fmt.Errorf("%w: no %s in %.200s", errOtherAnswer, want, text)
		}
		return err
	}
}

// steadily does the work a number of times, one after the other, with a pause between,
// and returns how often it failed, and the last error.
func (w work) steadily(ctx context.Context, times int, pause time.Duration) (lost int, last error) {
	for range times {
		if err := w(ctx); err != nil {
			lost, last = lost+1, err
		}
		select {
		case <-ctx.Done():
			return lost, last
		case <-time.After(pause):
		}
	}
	return lost, last
}

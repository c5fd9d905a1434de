package flood

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

const (
	// honest is the address of the clients that work beside a flood.
	honest = "127.0.0.200"
	// shared is an address of the flood that an honest client has too, as behind NAT.
	shared = "127.0.0.2"
	// clientTimeout is Prometheus' default scrape timeout, which is longer than what the kubelet's probes and an
	// API server wait.
	clientTimeout = 10 * time.Second
	// pause is between two requests of a client.
	pause = 100 * time.Millisecond
	// late is the shortest of the programs' time limits, that of a probe (webhook: 1.5 s for an admission; all: 5 s for a
	// handshake or a request). A connection that must go for another one goes much sooner. It is also longer than
	// the webhook keeps the result of such a probe.
	late = time.Second
)

// requests returns how many requests each honest client sends during a flood: a few seconds of them, a minute in `make soak`.
func requests() int {
	if testkit.Soak() {
		return 600
	}
	return 10
}

// A port is a listening address and how to speak there.
type port struct {
	network, address string
	encrypted        bool
}

// A client sends one kind of request, to which the answer must be 200 with a text.
type client struct {
	name  string
	port  port
	path  string
	token string
	body  func() string // nil is none
	want  string
	// once closes the connection after each request, as the kubelet does; Prometheus and API servers keep theirs.
	once bool
	// from is the client's address; "" is honest.
	from string

	http *http.Client
}

// ask sends the request once.
func (c *client) ask(ctx context.Context) error {
	if c.http == nil {
		c.http = c.newHTTP()
	}
	scheme, method := "http", http.MethodGet
	if c.port.encrypted {
		scheme = "https"
	}
	var body io.Reader
	if c.body != nil {
		method, body = http.MethodPost, strings.NewReader(c.body())
	}
	request, err := http.NewRequestWithContext(ctx, method, scheme+"://program"+c.path, body)
	if err != nil {
		return err
	}
	if c.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(text), c.want)) {
		err = fmt.Errorf("%s, want 200 with %q in %.200s", response.Status, c.want, text)
	}
	return err
}

func (c *client) newHTTP() *http.Client {
	dialer := &net.Dialer{}
	if c.port.network == "tcp" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(honest)}
		if c.from != "" {
			dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(c.from)}
		}
	}
	return &http.Client{Timeout: clientTimeout, Transport: &http.Transport{
		DisableKeepAlives: c.once,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate does not matter here
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, c.port.network, c.port.address)
		},
	}}
}

// work sends all requests, one after the other. It sends a late one again, for so long that only a program that answers no
// one runs out of time: whether a client must go is the program's choice, how soon it gets an answer also the machine's.
func (c *client) work(ctx context.Context) WorkResult {
	result := WorkResult{Name: c.name}
	for end := time.Now().Add(3 * testkit.Patience); result.Asked < requests(); {
		began, wait := time.Now(), pause
		err := c.ask(ctx)
		switch {
		case err != nil && began.Before(end) && time.Since(began) >= late:
			result.Late, wait = result.Late+1, late
		case err != nil:
			result.Lost, result.Last = result.Lost+1, err
			fallthrough
		default:
			result.Asked++
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return result
}

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// serverName is whom the certificate names.
const serverName = "relay.bench.svc"

// A stand is everything that is measured, and what it needs around it.
type stand struct {
	crowd                     *crowd
	reviewer                  *reviewer.Reviewer
	binary                    int64
	relay, socket, tls, plain *contestant
	closers                   []func()
}

func (s *stand) contestants() []*contestant {
	return []*contestant{s.plain, s.tls, s.socket, s.relay}
}

// newStand builds and starts everything below the folder. It must be closed.
func newStand(ctx context.Context, dir string) (*stand, error) {
	s := &stand{}
	if err := s.start(ctx, dir); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stand) start(ctx context.Context, dir string) (err error) {
	kubelet := filepath.Join(dir, "pods")
	if s.crowd, err = newCrowd(kubelet, pods); err != nil {
		return err
	}
	s.closers = append(s.closers, s.crowd.close)
	s.socket = &contestant{name: "the sockets themselves", scrape: func(uid podsocket.UID) (time.Duration, error) {
		return get(socketClient(s.crowd.pods, uid), "http://localhost/metrics")
	}}
	if s.reviewer, err = reviewer.New(filepath.Join(dir, "serviceaccount"), 0); err != nil {
		return err
	}
	s.closers = append(s.closers, s.reviewer.Close)
	client, err := issue(dir)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, client.CloseIdleConnections)
	if err := s.startRelay(ctx, dir, kubelet, client); err != nil {
		return err
	}
	return s.startPlain(ctx, dir, client)
}

// startRelay starts it as the DaemonSet does. Its network, capabilities and
// read-only folders are left out: they cost a scrape nothing.
func (s *stand) startRelay(ctx context.Context, dir, kubelet string, client *http.Client) error {
	binary, err := build(ctx, dir, "relay", "relay")
	if err != nil {
		return err
	}
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	s.binary = info.Size()
	address, err := freeAddress()
	if err != nil {
		return err
	}
	command, err := s.reviewer.Mounted(binary, "--kubelet-pods-dir="+kubelet, "--web.listen-address="+address,
		"--tls-cert-file="+filepath.Join(dir, "tls.crt"), "--tls-private-key-file="+filepath.Join(dir, "tls.key"), "--log.level=warn")
	if err != nil {
		return err
	}
	s.relay, err = s.contest(ctx, "the relay", command, client, "https://"+address+"/readyz", func(uid podsocket.UID) (time.Duration, error) {
		return get(client, "https://"+address+"/pods/"+string(uid)+"/metrics")
	})
	return err
}

// startPlain starts the two yardsticks, which answer what a socket does.
func (s *stand) startPlain(ctx context.Context, dir string, client *http.Client) error {
	binary, err := build(ctx, dir, "plain", "internal/bench/relay/plain")
	if err != nil {
		return err
	}
	page := filepath.Join(dir, "page")
	if err := s.crowd.save(page); err != nil {
		return err
	}
	for _, y := range []struct {
		to     **contestant
		scheme string
		name   string
		args   []string
	}{
		{&s.tls, "https", "a plain server with TLS", []string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}},
		{&s.plain, "http", "a plain server", nil},
	} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		url := y.scheme + "://" + address + "/metrics"
		*y.to, err = s.contest(ctx, y.name, append([]string{binary, address, page}, y.args...), client, url, func(podsocket.UID) (time.Duration, error) {
			return get(client, url)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// contest starts a process and waits until it answers.
func (s *stand) contest(ctx context.Context, name string, command []string, client *http.Client, ready string, scrape func(podsocket.UID) (time.Duration, error)) (*contestant, error) {
	p, err := startProcess(command)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, p.stop)
	return &contestant{name: name, process: p, scrape: scrape}, p.await(ctx, client, ready)
}

func (s *stand) close() {
	for _, closer := range slices.Backward(s.closers) {
		closer()
	}
}

// issue writes a serving certificate, and gives a client that verifies it and keeps
// its connections, as Prometheus does.
func issue(dir string) (*http.Client, error) {
	authority, err := pki.NewCA(serverName, time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	leaf, err := pki.IssueLeaf(authority, serverName, time.Now(), time.Hour)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"tls.crt": leaf.CertPEM, "tls.key": leaf.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate)
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: serverName},
		MaxIdleConnsPerHost: atOnce,
		DisableCompression:  true, // it asks for gzip itself
	}}, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

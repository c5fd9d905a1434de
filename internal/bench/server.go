package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
	"kubevirt-hypervisor-exporter/internal/testkit"
)

// server is a running program.
type server struct {
	process *testkit.Process
	// pid is the process that is measured; the program itself or its child.
	pid    int
	client *http.Client
	// url and header are those of request i. With a body it is a POST.
	url    func(i int) string
	header http.Header
	body   func() string
	// want is what each answer contains.
	want string
}

// startAll starts a program for each column of the table. stop is never nil.
func startAll(t *table, start func(column int) (*server, error)) (all []*server, stop func(), err error) {
	stop = func() {
		for _, s := range all {
			s.client.CloseIdleConnections()
			s.process.Kill()
		}
	}
	for column := range t.columns {
		s, err := start(column)
		if err != nil {
			return nil, stop, err
		}
		all = append(all, s)
	}
	return all, stop, nil
}

// launch starts the command and waits for the first good answer. The log is in the bench's folder.
func (b *bench) launch(ctx context.Context, s *server, command *exec.Cmd) (*server, error) {
	name := filepath.Base(command.Path)
	began := time.Now()
	var err error
	if s.process, err = testkit.Start(filepath.Join(b.folder, name+".log"), command); err != nil {
		return nil, err
	}
	s.pid = s.process.Pid()
	for {
		_, err := s.ask(ctx, 0)
		if err == nil {
			return s, nil
		}
		if pause(ctx, time.Millisecond) != nil || time.Since(began) > testkit.Patience {
			s.process.Kill()
			return nil, fmt.Errorf("%s does not answer: %w\n%s", name, err, s.process.LogTail())
		}
	}
}

// errBusy is an answer of 503. The webhook takes 64 admissions at once; on a busy machine, a client may have read an
// answer a moment before that admission is over.
var errBusy = errors.New("503: too many requests at once")

// ask sends request i, checks the answer and returns how long it took.
func (s *server) ask(ctx context.Context, i int) (time.Duration, error) {
	method, content := http.MethodGet, ""
	if s.body != nil {
		method, content = http.MethodPost, s.body()
	}
	request, err := http.NewRequestWithContext(ctx, method, s.url(i), strings.NewReader(content))
	if err != nil {
		return 0, err
	}
	request.Header = s.header.Clone()
	began := time.Now()
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	took := time.Since(began)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return 0, err
	}
	if response.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gunzip(body); err != nil {
			return 0, err
		}
	}
	if response.StatusCode == http.StatusServiceUnavailable {
		return 0, errBusy
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(s.want)) {
		return 0, fmt.Errorf("%s %s: %s without %q: %.500s", request.Method, request.URL, response.Status, s.want, body)
	}
	return took, nil
}

func gunzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}

// load sends total requests, atOnce at a time; one that got errBusy is sent again. It returns how long each took, and
// the seconds of CPU that the server spent on one.
func (s *server) load(ctx context.Context, atOnce, total int) (took []time.Duration, cpu float64, err error) {
	before, err := read(s.pid)
	if err != nil {
		return nil, 0, err
	}
	took = make([]time.Duration, total)
	failures := make([]error, atOnce)
	var next atomic.Int64
	var workers sync.WaitGroup
	for worker := range atOnce {
		workers.Go(func() {
			for failures[worker] == nil {
				i := int(next.Add(1)) - 1
				if i >= total {
					return
				}
				for took[i], failures[worker] = s.ask(ctx, i); errors.Is(failures[worker], errBusy); {
					took[i], failures[worker] = s.ask(ctx, i)
				}
			}
		})
	}
	workers.Wait()
	if err := errors.Join(failures...); err != nil {
		return nil, 0, err
	}
	after, err := read(s.pid)
	return took, (after.cpu - before.cpu).Seconds() / float64(total), err
}

// scrapeHeader returns the header of Prometheus' requests, with a token if there is one.
func scrapeHeader(token string) http.Header {
	header := http.Header{
		"Accept": {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
			"application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4," +
			"text/plain;version=0.0.4;q=0.3,*/*;q=0.2"},
		"Accept-Encoding":                     {"gzip"},
		"User-Agent":                          {"Prometheus/3.5.0"},
		"X-Prometheus-Scrape-Timeout-Seconds": {"10"},
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	return header
}

// keyPair is a serving certificate in files, and its CA.
type keyPair struct {
	name, cert, key string
	roots           *x509.CertPool
}

func (b *bench) newKeyPair() (keyPair, error) {
	k := keyPair{name: "program.bench.svc", roots: x509.NewCertPool()}
	k.cert, k.key = filepath.Join(b.folder, "tls.crt"), filepath.Join(b.folder, "tls.key")
	ca, err := pki.NewCA(k.name, time.Now(), 24*time.Hour)
	if err != nil {
		return k, err
	}
	leaf, err := pki.IssueLeaf(ca, k.name, time.Now(), 24*time.Hour)
	if err != nil {
		return k, err
	}
	k.roots.AddCert(ca.Certificate)
	return k, errors.Join(os.WriteFile(k.cert, leaf.CertPEM, 0o600), os.WriteFile(k.key, leaf.KeyPEM, 0o600))
}

// client returns a client that keeps its connections. It asks for compression only where the request does.
func (k keyPair) client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: k.roots, ServerName: k.name, MinVersion: tls.VersionTLS13},
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}}
}

// command returns the command with flags in the dialect of the program: those of earlier commits have dots.
func command(ctx context.Context, binary string, flags ...string) (*exec.Cmd, error) {
	help, err := exec.CommandContext(ctx, binary, "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s --help: %w", binary, err)
	}
	if bytes.Contains(help, []byte("--web.listen-address")) {
		dotted := strings.NewReplacer("--listen-", "--web.listen-", "--libvirt-", "--libvirt.", "--log-", "--log.")
		for i := range flags {
			flags[i] = dotted.Replace(flags[i])
		}
	}
	return exec.Command(binary, flags...), nil
}

package certificate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// DefaultPoll is how often the files are read. The kubelet takes up to a minute to bring a changed Secret to a pod, so
// two seconds more do not matter, and two reads of a kilobyte cost some 20 µs.
const DefaultPoll = 2 * time.Second

// FileSource serves a certificate and key from two files, as the kubelet mounts them from a Secret.
//
// It polls. inotify would have to watch the folder and the `..data` symlink that the kubelet swaps, and fails where a
// node has run out of inotify instances (128 per user, shared by all containers of that uid). A server that then keeps
// an old certificate until it expires is worse than two reads every two seconds.
type FileSource struct {
	certFile, keyFile string
	poll              time.Duration
	now               func() time.Time
	logger            *slog.Logger

	current atomic.Pointer[tls.Certificate]
	// Only load uses these. seen is the digest of the files' last content or read error, and loaded is whether that
	// content was good: a broken pair is logged once, not at each poll. retry is when a pair that is only too early is
	// checked again; zero for one that is broken.
	seen   [sha256.Size]byte
	loaded bool
	retry  time.Time
}

// NewFileSource reads the two files once, so that a server that starts with good files is ready at once. Missing or
// broken files are logged and waited for: an installation fills the Secret after the pods have started. now must return
// wall-clock time.
func NewFileSource(certFile, keyFile string, poll time.Duration, now func() time.Time, logger *slog.Logger) *FileSource {
	s := &FileSource{certFile: certFile, keyFile: keyFile, poll: poll, now: now, logger: logger}
	s.load()
	return s
}

// Run polls the files until ctx ends.
func (s *FileSource) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.load()
		}
	}
}

// GetCertificate returns the newest good pair.
func (s *FileSource) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := s.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, fmt.Errorf("no serving certificate: %s and %s have not held a matching pair yet", s.certFile, s.keyFile)
}

// Healthy checks the loaded certificate against the clock.
func (s *FileSource) Healthy() error {
	cert, err := s.GetCertificate(nil)
	if err != nil {
		return err
	}
	return checkTime(cert, s.now())
}

// load starts to serve the files' pair if it is good. Otherwise the previous one stays: some clients refuse an old
// certificate, all refuse none.
func (s *FileSource) load() {
	found := s.read()
	if found.digest() == s.seen && (s.loaded || s.now().Before(s.retry)) {
		return
	}
	cert, err := s.check(found)
	if err != nil {
		// The kubelet may have swapped the folder between the two reads.
		found = s.read()
		cert, err = s.check(found)
	}
	changed := found.digest() != s.seen
	s.seen, s.loaded, s.retry = found.digest(), err == nil, time.Time{}
	var early *tooEarlyError
	switch {
	case errors.As(err, &early):
		s.retry = early.until
		if changed {
			s.logger.Info("new serving certificate is not served yet, the previous one stays", "cert_file", s.certFile, "reason", err)
		}
	case err == nil:
		s.current.Store(cert)
		s.logger.Info("serving certificate loaded", "cert_file", s.certFile,
			"serial", cert.Leaf.SerialNumber.Text(16), "not_after", cert.Leaf.NotAfter)
	case changed:
		s.logger.Warn("serving certificate not loaded, the previous one stays",
			"cert_file", s.certFile, "key_file", s.keyFile, "err", err)
	}
}

func (s *FileSource) read() content {
	var c content
	if c.cert, c.err = os.ReadFile(s.certFile); c.err != nil {
		return c
	}
	c.key, c.err = os.ReadFile(s.keyFile)
	return c
}

// check refuses a pair that is worse than the one being served.
func (s *FileSource) check(c content) (*tls.Certificate, error) {
	if c.err != nil {
		return nil, c.err
	}
	cert, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, err
	}
	if s.Healthy() != nil {
		return &cert, nil
	}
	now := s.now()
	if until := changeover(s.current.Load().Leaf, cert.Leaf); now.Before(until) {
		return nil, &tooEarlyError{until}
	}
	if err := checkTime(&cert, now); err != nil {
		return nil, err
	}
	return &cert, nil
}

// changeover is when the next certificate replaces the present one: as soon as every clock in the cluster finds it valid
// (pki.ClockError), but before any finds the present one expired. cert-manager issues certificates that begin at that
// very moment (pkg/util/pki/certificatetemplate.go), and a verifier whose clock is behind would refuse them for that
// long; ours began hours ago.
//
// A next one of another CA or for other names does not renew the present one but corrects it: it does not wait for other
// clocks.
func changeover(present, next *x509.Certificate) time.Time {
	if !bytes.Equal(present.AuthorityKeyId, next.AuthorityKeyId) || !bytes.Equal(present.RawIssuer, next.RawIssuer) ||
		!slices.Equal(present.DNSNames, next.DNSNames) {
		return next.NotBefore
	}
	until := next.NotBefore.Add(2 * pki.ClockError)
	if last := present.NotAfter.Add(-2 * pki.ClockError); last.Before(until) {
		until = last
	}
	if until.Before(next.NotBefore) {
		return next.NotBefore
	}
	return until
}

// tooEarlyError is about a certificate that others may not find valid yet.
type tooEarlyError struct{ until time.Time }

func (e *tooEarlyError) Error() string {
	return "a clock that is behind may not find it valid yet; served from " + e.until.UTC().Format(time.RFC3339)
}

// content is what one read of the two files found.
type content struct {
	cert, key []byte
	err       error
}

func (c content) digest() [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%q %q %v", c.cert, c.key, c.err))
}

func checkTime(cert *tls.Certificate, now time.Time) error {
	if !pki.ValidAt(cert.Leaf, now) {
		return fmt.Errorf("serving certificate is valid from %s to %s, and it is %s",
			cert.Leaf.NotBefore.Format(time.RFC3339), cert.Leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

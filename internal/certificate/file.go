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

// DefaultPoll is how often the files are read. The kubelet itself takes up to
// a minute to bring a changed Secret to a pod, so two seconds add nothing that
// anyone could notice, and two reads of a kilobyte cost some 20 µs.
const DefaultPoll = 2 * time.Second

// FileSource serves a certificate and key from two files, as the kubelet
// mounts them from a Secret.
//
// It polls. inotify would have to watch the directory and the `..data` symlink
// that the kubelet swaps, and fails where a node has run out of inotify
// instances (128 per user, shared by all containers of that uid); a webhook
// that then goes on with an old certificate until it expires is worse than two
// reads every two seconds.
type FileSource struct {
	certFile, keyFile string
	poll              time.Duration
	now               func() time.Time
	logger            *slog.Logger

	current atomic.Pointer[tls.Certificate]
	// seen is the digest of the files' last content or read error, taken says
	// whether it was good: a broken pair is logged once and not once per poll.
	// again is when a pair that was refused only for its time is looked at
	// again; zero for one that was broken. Only load touches them.
	seen  [sha256.Size]byte
	taken bool
	again time.Time
}

// NewFileSource reads the two files once, so that a server started with good
// files is ready at once. Missing or broken files are logged and waited for:
// at installation the Secret is filled after the pods have started.
func NewFileSource(certFile, keyFile string, poll time.Duration, logger *slog.Logger) *FileSource {
	return newFileSource(certFile, keyFile, poll, time.Now, logger)
}

func newFileSource(certFile, keyFile string, poll time.Duration, now func() time.Time, logger *slog.Logger) *FileSource {
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

// GetCertificate gives the newest good pair.
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

// NotAfter is the end of the loaded certificate.
func (s *FileSource) NotAfter() (time.Time, bool) {
	cert := s.current.Load()
	if cert == nil {
		return time.Time{}, false
	}
	return cert.Leaf.NotAfter, true
}

// load takes over the files' pair if it is good. Otherwise the old one stays:
// an old certificate is refused by someone, no certificate by everyone.
func (s *FileSource) load() {
	found := s.read()
	if found.digest() == s.seen && (s.taken || s.now().Before(s.again)) {
		return
	}
	cert, err := s.check(found)
	if err != nil {
		// The kubelet may have swapped the directory between the two reads.
		found = s.read()
		cert, err = s.check(found)
	}
	news := found.digest() != s.seen
	s.seen, s.taken, s.again = found.digest(), err == nil, time.Time{}
	var early *tooEarlyError
	switch {
	case errors.As(err, &early):
		s.again = early.until
		if news {
			s.logger.Info("new serving certificate waits, the one before stays", "cert_file", s.certFile, "reason", err)
		}
	case err == nil:
		s.current.Store(cert)
		s.logger.Info("serving certificate loaded", "cert_file", s.certFile,
			"serial", cert.Leaf.SerialNumber.Text(16), "not_after", cert.Leaf.NotAfter)
	case news:
		s.logger.Warn("serving certificate not taken over, the one before stays",
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

// check refuses a pair that is worse than what is being served.
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

// changeover is when the next certificate takes the present one's place: as soon
// as every clock in the cluster finds it valid (pki.ClockError), but before any
// finds the present one expired. cert-manager issues certificates that begin at
// that very moment (pkg/util/pki/certificatetemplate.go), and a verifier whose
// clock is behind would refuse one for as long; ours began hours ago.
//
// A next one that is of another CA or for other names has not come to renew the
// present one but because that one is wrong: it does not wait for other clocks.
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

// content is what one look at the two files found.
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

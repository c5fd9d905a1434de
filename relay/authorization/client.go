// Package authorization asks the API server whether the holder of a token may get
// a path, and remembers the answer. A token may be one for the API server, or one for the
// relay alone (contract.RelayAudience).
//
// It speaks to the API server through net/http and writes the few fields it needs
// itself. Measured as stripped binaries that do nothing else (Kubernetes v0.37.2):
// this way 8.6 MB and 8 MiB resident, with the types of k8s.io/api 11.1 MB and 10
// MiB, with client-go's rest 12.9 MB and 11 MiB, with k8s.io/apiserver's delegating
// authenticator and authorizer 47.5 MB and 36 MiB.
package authorization

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	// reviewTimeout bounds one question to the API server.
	reviewTimeout = 3 * time.Second
	// maxReview bounds its answer, in bytes: a user may be in many groups.
	maxReview = 256 << 10
)

// An APIServer is the server to ask, and the account to ask with. Both files are read again for each use:
// the kubelet renews the token, and a cluster may get a new CA.
type APIServer struct {
	// URL is such as https://10.96.0.1:443.
	URL string
	// CAFile holds the CAs that may have signed its certificate.
	CAFile string
	// TokenFile holds the token of a service account that may create TokenReviews
	// and SubjectAccessReviews (ClusterRole system:auth-delegator).
	TokenFile string
}

// InCluster returns the API server of the pod's own cluster. Host and port are those of
// KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT; folder is where the service
// account is mounted.
func InCluster(host, port, folder string) (APIServer, error) {
	if host == "" || port == "" {
		return APIServer{}, errors.New("no API server to ask: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; run in a pod, or with --authorization=none")
	}
	return APIServer{
		URL:       "https://" + net.JoinHostPort(host, port),
		CAFile:    filepath.Join(folder, "ca.crt"),
		TokenFile: filepath.Join(folder, "token"),
	}, nil
}

// A Client asks an API server. Its methods may be called concurrently.
type Client struct {
	server APIServer
	http   *http.Client
}

// NewClient connects to nothing yet.
func NewClient(server APIServer) *Client {
	transport := &http.Transport{
		DialTLSContext:  server.dial,
		MaxIdleConns:    4,
		IdleConnTimeout: time.Minute,
	}
	return &Client{server: server, http: &http.Client{
		Transport: transport,
		Timeout:   reviewTimeout,
		// The token is for the API server alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Review asks whose token it is and whether they may get the path. An error means
// that there is no answer.
func (c *Client) Review(ctx context.Context, token, path string) (Decision, error) {
	asked := audiences(token)
	who := newTokenReview(token, asked)
	if err := c.create(ctx, "/apis/authentication.k8s.io/v1/tokenreviews", &who); err != nil {
		return Unavailable, fmt.Errorf("review a token: %w", err)
	}
	if !who.Status.accepted(asked) {
		return Unauthenticated, nil
	}
	may := newAccessReview(who.Status.User, path)
	if err := c.create(ctx, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &may); err != nil {
		return Unavailable, fmt.Errorf("review the access of %s: %w", who.Status.User.Username, err)
	}
	if may.Status.Allowed && !may.Status.Denied {
		return Allowed, nil
	}
	return Forbidden, nil
}

// create sends the review and reads it back with its status.
func (c *Client) create(ctx context.Context, path string, review any) error {
	content, err := json.Marshal(review)
	if err != nil {
		return fmt.Errorf("encode the review: %w", err)
	}
	ours, err := os.ReadFile(c.server.TokenFile)
	if err != nil {
		return fmt.Errorf("read our service account's token: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.URL+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(ours)))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "hypervisor-exporter-relay")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxReview))
	switch code := response.StatusCode; {
	case err != nil:
		return fmt.Errorf("read the API server's answer: %w", err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("the API server answered %s: our service account needs the ClusterRole system:auth-delegator", response.Status)
	case code != http.StatusCreated && code != http.StatusOK:
		return fmt.Errorf("the API server answered %s", response.Status)
	}
	if err := json.Unmarshal(answer, review); err != nil {
		return fmt.Errorf("decode the API server's answer: %w", err)
	}
	return nil
}

// dial trusts the CAs that the file holds now.
func (s APIServer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	certificates, err := os.ReadFile(s.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read the API server's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificates) {
		return nil, fmt.Errorf("%s holds no certificate", s.CAFile)
	}
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	return dialer.DialContext(ctx, network, address)
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// RelayTrust is how a client verifies the relay.
type RelayTrust struct {
	// HTTPS is false if the installation serves the relay without TLS and without authorization.
	HTTPS bool
	// ServerName is the name that the certificate must have.
	ServerName string
	// CA must have signed the certificate; PEM.
	CA []byte
}

// RelayTrust reads from the VMs' PodMonitor how Prometheus verifies the relay, and the CA named there, so that a client
// trusts what Prometheus trusts. A given CA, in PEM, is used instead of the one named. It does not read a Secret, which has
// the key of the relay's certificate.
func (c *Cluster) RelayTrust(ctx context.Context, namespace string, givenCA []byte) (RelayTrust, error) {
	monitor, err := c.vmsPodMonitor(ctx, namespace)
	if err != nil {
		return RelayTrust{}, err
	}
	if len(monitor.Spec.PodMetricsEndpoints) == 0 {
		return RelayTrust{}, errors.New("the PodMonitor " + VMsPodMonitor + " has no endpoint")
	}
	endpoint := monitor.Spec.PodMetricsEndpoints[0]
	if !strings.EqualFold(endpoint.Scheme, "https") {
		return RelayTrust{}, nil
	}
	trust := RelayTrust{HTTPS: true, ServerName: endpoint.TLSConfig.ServerName, CA: givenCA}
	switch ca := endpoint.TLSConfig.CA; {
	case givenCA != nil:
	case ca.ConfigMap != nil:
		published, err := Get(ctx, c.CoreV1().ConfigMaps(namespace).Get, ca.ConfigMap.Name)
		if err != nil {
			return RelayTrust{}, err
		}
		if published.Data[ca.ConfigMap.Key] == "" {
			return RelayTrust{}, fmt.Errorf("the ConfigMap %s has no %s: check the log of the certificate process", ca.ConfigMap.Name, ca.ConfigMap.Key)
		}
		trust.CA = []byte(published.Data[ca.ConfigMap.Key])
	case ca.Secret != nil:
		return RelayTrust{}, fmt.Errorf("the relay's CA is in the Secret %s beside its key, and hypervisorctl does not read keys: "+
			"ask for its %s in a file, and pass that with --relay-ca-file", ca.Secret.Name, ca.Secret.Key)
	default:
		return RelayTrust{}, errors.New("the PodMonitor " + VMsPodMonitor + " names no CA for the relay's certificate; pass one with --relay-ca-file")
	}
	return trust, nil
}

// The shortest lifetime that the API server gives a token (k8s.io/kubernetes pkg/apis/authentication/validation), and how
// long before its end it is replaced.
const (
	tokenLifetime = 10 * time.Minute
	tokenMargin   = 2 * time.Minute
)

// RelayToken returns a function that returns a token of the scraper's ServiceAccount. Its audience is the relay's, so the
// API server itself does not accept it. The function may be called from many goroutines; it requests another token before
// the last one expires.
func (c *Cluster) RelayToken(namespace string) func(context.Context) (string, error) {
	var mu sync.Mutex
	var last authenticationv1.TokenRequestStatus
	seconds := int64(tokenLifetime.Seconds())
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{contract.RelayAudience}, ExpirationSeconds: &seconds},
	}
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Until(last.ExpirationTimestamp.Time) > tokenMargin {
			return last.Token, nil
		}
		answer, err := c.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, Scraper, request, metav1.CreateOptions{})
		if err = access(err); IsDenied(err) {
			return "", fmt.Errorf("%w; an administrator can grant it with the Role hypervisorctl-relay (kubectl hypervisor rbac)", err)
		}
		if err != nil {
			return "", err
		}
		last = answer.Status
		return last.Token, nil
	}
}

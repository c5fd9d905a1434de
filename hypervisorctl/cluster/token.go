package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

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
	var token string
	var end time.Time
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if time.Until(end) > tokenMargin {
			return token, nil
		}
		fresh, err := c.requestToken(ctx, namespace)
		if err != nil {
			return "", err
		}
		token, end = fresh.Token, fresh.ExpirationTimestamp.Time
		return token, nil
	}
}

func (c *Cluster) requestToken(ctx context.Context, namespace string) (authenticationv1.TokenRequestStatus, error) {
	seconds := int64(tokenLifetime.Seconds())
	answer, err := c.client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, Scraper, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{contract.RelayAudience}, ExpirationSeconds: &seconds},
	}, metav1.CreateOptions{})
	err = access(err, "create", corev1.Resource("serviceaccounts"), "token", namespace, Scraper)
	switch {
	case IsDenied(err):
		return authenticationv1.TokenRequestStatus{}, fmt.Errorf("%w; an administrator can grant it with the Role hypervisorctl-relay of hypervisorctl/rbac.yaml", err)
	case err != nil:
		return authenticationv1.TokenRequestStatus{}, err
	}
	return answer.Status, nil
}

package apiservertest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SecretToken returns the token of a new Secret of the type kubernetes.io/service-account-token for a service account
// that exists. No controller fills such a Secret here; the claims are those that it writes (Kubernetes,
// pkg/serviceaccount/legacy.go): no audience and no end.
func (s *Server) SecretToken(t testing.TB, namespace, serviceAccount string) string {
	t.Helper()
	account, err := s.Client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), serviceAccount, metav1.GetOptions{})
	require.NoError(t, err)
	name := serviceAccount + "-token"
	const prefix = "kubernetes.io/serviceaccount/"
	token := s.sign(t, map[string]string{
		"iss":                           "kubernetes/serviceaccount",
		"sub":                           "system:serviceaccount:" + namespace + ":" + serviceAccount,
		prefix + "namespace":            namespace,
		prefix + "secret.name":          name,
		prefix + "service-account.name": serviceAccount,
		prefix + "service-account.uid":  string(account.UID),
	})
	_, err = s.Client.CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
			corev1.ServiceAccountNameKey: serviceAccount,
			corev1.ServiceAccountUIDKey:  string(account.UID),
		}},
		Type: corev1.SecretTypeServiceAccountToken,
		Data: map[string][]byte{corev1.ServiceAccountTokenKey: []byte(token)},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return token
}

// sign makes a JWT with the key that the API server signs its own with (ES256, RFC 7518 section 3.4).
func (s *Server) sign(t testing.TB, claims map[string]string) string {
	t.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed := encode([]byte(`{"alg":"ES256"}`)) + "." + encode(payload)
	digest := sha256.Sum256([]byte(signed))
	first, second, err := ecdsa.Sign(rand.Reader, s.serviceAccountKey, digest[:])
	require.NoError(t, err)
	signature := make([]byte, 64)
	first.FillBytes(signature[:32])
	second.FillBytes(signature[32:])
	return signed + "." + encode(signature)
}

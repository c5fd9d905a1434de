package cluster

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// A token serves until shortly before it expires; then there is another.
func TestRelayTokenIsKept(t *testing.T) {
	var requests []authenticationv1.TokenRequest
	lifetime := tokenMargin - time.Second
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := authenticationv1.TokenRequest{}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		requests = append(requests, request)
		request.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}
		request.Status = authenticationv1.TokenRequestStatus{Token: string(rune('0' + len(requests))), ExpirationTimestamp: metav1.NewTime(time.Now().Add(lifetime))}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(request)
	}))
	defer web.Close()
	// JSON instead of protobuf, so that the server above is short.
	c, err := New(&rest.Config{Host: web.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}, 1)
	require.NoError(t, err)
	token := c.RelayToken("relays")
	for _, want := range []string{"1", "2"} {
		got, err := token(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got, "it expires too soon")
	}
	lifetime = tokenLifetime
	for range 2 {
		got, err := token(t.Context())
		require.NoError(t, err)
		require.Equal(t, "3", got)
	}
	require.Equal(t, []string{contract.RelayAudience}, requests[0].Spec.Audiences)
	require.EqualValues(t, 600, *requests[0].Spec.ExpirationSeconds)
}

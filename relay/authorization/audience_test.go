package authorization

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// jwt is a token with the claims; nothing here verifies its signature.
func jwt(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func TestAudiences(t *testing.T) {
	const ours = contract.RelayAudience
	for token, want := range map[string][]string{
		jwt(`{"aud":["` + ours + `"]}`):                      {ours},
		jwt(`{"aud":"` + ours + `"}`):                        {ours},
		jwt(`{"aud":["https://kubernetes","` + ours + `"]}`): {ours},
		jwt(`{"aud":["https://kubernetes.default.svc"]}`):    nil,
		jwt(`{"iss":"kubernetes/serviceaccount","sub":"s"}`): nil, // of a Secret
		jwt(`{"aud":[]}`):                                    nil,
		jwt(`{"aud":null}`):                                  nil,
		jwt(`{"aud":7}`):                                     nil,
		jwt(`{"aud":["` + ours + `-2"]}`):                    nil,
		jwt(`{"aud":[["` + ours + `"]]}`):                    nil,
		jwt(`{"sub":"` + ours + `"}`):                        nil,
		jwt(`not JSON`):                                      nil,
		"opaque":                                             nil,
		"sha256~opaque":                                      nil,
		"a.!.c":                                              nil,
		jwt(`{"aud":["`+ours+`"]}`) + ".more":                nil,
		"":                                                   nil,
		strings.Repeat("[", maxToken):                        nil,
		jwt(`{"aud":` + strings.Repeat("[", maxToken/2) + `}`): nil,
	} {
		require.Equal(t, want, audiences(token), "%.60s", token)
	}
}

// TestAccepted: an API server, or what authenticates for it, that does not know audiences returns none. Then the token is one
// for the API server.
func TestAccepted(t *testing.T) {
	ours := []string{contract.RelayAudience}
	for _, c := range []struct {
		status tokenReviewStatus
		asked  []string
		want   bool
	}{
		{tokenReviewStatus{Authenticated: true}, nil, true},
		{tokenReviewStatus{Authenticated: true, Audiences: []string{"https://kubernetes"}}, nil, true},
		{tokenReviewStatus{Authenticated: true, Audiences: ours}, ours, true},
		{tokenReviewStatus{Authenticated: true}, ours, false},
		{tokenReviewStatus{Authenticated: true, Audiences: []string{"https://kubernetes"}}, ours, false},
		{tokenReviewStatus{Audiences: ours}, ours, false},
		{tokenReviewStatus{}, nil, false},
	} {
		require.Equal(t, c.want, c.status.accepted(c.asked), "%+v", c)
	}
}

// FuzzAudiences feeds a token. What is asked about is nothing or the relay's audience, and that only for a token that
// names it.
func FuzzAudiences(f *testing.F) {
	f.Add(jwt(`{"aud":["` + contract.RelayAudience + `"]}`))
	f.Add(jwt(`{"aud":"` + contract.RelayAudience + `"}`))
	f.Add("opaque")
	f.Fuzz(func(t *testing.T, token string) {
		asked := audiences(token)
		if asked == nil {
			return
		}
		require.Equal(t, []string{contract.RelayAudience}, asked)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		require.NoError(t, err)
		require.Contains(t, string(payload), `"`)
	})
}

package authorization

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"

	"kubevirt-hypervisor-exporter/internal/contract"
)

const ours = contract.RelayAudience

// jwt is a token with the claims; nothing here verifies its signature.
func jwt(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func TestAudiences(t *testing.T) {
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
	relay, kubernetes := []string{ours}, []string{"https://kubernetes"}
	for _, c := range []struct {
		status tokenReviewStatus
		asked  []string
		want   bool
	}{
		{tokenReviewStatus{Authenticated: true}, nil, true},
		{tokenReviewStatus{Authenticated: true, Audiences: kubernetes}, nil, true},
		{tokenReviewStatus{Authenticated: true, Audiences: relay}, relay, true},
		{tokenReviewStatus{Authenticated: true}, relay, false},
		{tokenReviewStatus{Authenticated: true, Audiences: kubernetes}, relay, false},
		{tokenReviewStatus{Audiences: relay}, relay, false},
		{tokenReviewStatus{}, nil, false},
	} {
		require.Equal(t, c.want, c.status.accepted(c.asked), "%+v", c)
	}
}

// FuzzAudiences: the API server is asked about no audience, or about the relay's, and that only for a token that
// names it.
func FuzzAudiences(f *testing.F) {
	f.Add(jwt(`{"aud":["` + ours + `"]}`))
	f.Add(jwt(`{"aud":"` + ours + `"}`))
	f.Add("opaque")
	f.Fuzz(func(t *testing.T, token string) {
		asked := audiences(token)
		if asked == nil {
			return
		}
		require.Equal(t, []string{ours}, asked)
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		require.NoError(t, err)
		require.Contains(t, string(payload), `"`)
	})
}

// TestReviewsAreKubernetes writes every field of ours, lets Kubernetes' types read them
// strictly, and reads back what those write.
func TestReviewsAreKubernetes(t *testing.T) {
	roundTrip := func(ours, theirs, back any) {
		written, err := json.Marshal(ours)
		require.NoError(t, err)
		strict := json.NewDecoder(bytes.NewReader(written))
		strict.DisallowUnknownFields()
		require.NoError(t, strict.Decode(theirs))
		written, err = json.Marshal(theirs)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(written, back))
	}
	who := newTokenReview("t", []string{"a"})
	who.Status = tokenReviewStatus{Authenticated: true, User: user{"n", "u", []string{"g"}, map[string][]string{"k": {"v"}}}, Audiences: []string{"a"}}
	var whoBack tokenReview
	roundTrip(who, &authenticationv1.TokenReview{}, &whoBack)
	require.Equal(t, who, whoBack)

	may := newAccessReview(who.Status.User, "/p")
	may.Status = accessReviewStatus{Allowed: true, Denied: true}
	var mayBack accessReview
	roundTrip(may, &authorizationv1.SubjectAccessReview{}, &mayBack)
	require.Equal(t, may, mayBack)
}

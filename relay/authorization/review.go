package authorization

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// The fields that are needed of a TokenReview and a SubjectAccessReview, as in k8s.io/api; a test compares them.
type (
	review[Spec, Status any] struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       Spec   `json:"spec"`
		Status     Status `json:"status,omitzero"`
	}
	tokenReviewSpec struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences,omitempty"`
	}
	tokenReviewStatus struct {
		Authenticated bool     `json:"authenticated,omitempty"`
		User          user     `json:"user,omitzero"`
		Audiences     []string `json:"audiences,omitempty"`
	}
	user struct {
		Username string              `json:"username,omitempty"`
		UID      string              `json:"uid,omitempty"`
		Groups   []string            `json:"groups,omitempty"`
		Extra    map[string][]string `json:"extra,omitempty"`
	}
	accessReviewSpec struct {
		NonResourceAttributes nonResourceAttributes `json:"nonResourceAttributes"`
		User                  string                `json:"user,omitempty"`
		Groups                []string              `json:"groups,omitempty"`
		UID                   string                `json:"uid,omitempty"`
		Extra                 map[string][]string   `json:"extra,omitempty"`
	}
	nonResourceAttributes struct {
		Path string `json:"path"`
		Verb string `json:"verb"`
	}
	accessReviewStatus struct {
		Allowed bool `json:"allowed,omitempty"`
		Denied  bool `json:"denied,omitempty"`
	}
	tokenReview  = review[tokenReviewSpec, tokenReviewStatus]
	accessReview = review[accessReviewSpec, accessReviewStatus]
)

// newTokenReview asks whose the token is, if it is for all of the audiences; nil is the API server.
func newTokenReview(token string, audiences []string) tokenReview {
	return tokenReview{
		APIVersion: "authentication.k8s.io/v1",
		Kind:       "TokenReview",
		Spec:       tokenReviewSpec{Token: token, Audiences: audiences},
	}
}

// newAccessReview asks whether the user may get the path.
func newAccessReview(u user, path string) accessReview {
	return accessReview{
		APIVersion: "authorization.k8s.io/v1",
		Kind:       "SubjectAccessReview",
		Spec: accessReviewSpec{
			NonResourceAttributes: nonResourceAttributes{Path: path, Verb: "get"},
			User:                  u.Username, Groups: u.Groups, UID: u.UID, Extra: u.Extra,
		},
	}
}

// audiences returns the audience for which the API server must accept the token: the relay if the token
// names it (claim aud, RFC 7519), or else nil, which is the API server itself. It does not verify the claim;
// the API server does, for the audience that it is asked about.
//
// The token of a Secret, which Prometheus sends, names no audience. A token for the API server
// is accepted for those who have no other.
func audiences(token string) []string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims struct {
		Audience json.RawMessage `json:"aud"` // one name or several
	}
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	var one string
	var several []string
	if json.Unmarshal(claims.Audience, &one) == nil {
		several = []string{one}
	} else if json.Unmarshal(claims.Audience, &several) != nil {
		return nil
	}
	if !slices.Contains(several, contract.RelayAudience) {
		return nil
	}
	return []string{contract.RelayAudience}
}

// accepted reports whether the API server has reviewed the token for what it was asked about. One
// that does not know audiences returns none (TokenReviewStatus, k8s.io/api/authentication/v1): then the token is good for
// the API server, which is not what was asked.
func (s tokenReviewStatus) accepted(asked []string) bool {
	for _, name := range asked {
		if !slices.Contains(s.Audiences, name) {
			return false
		}
	}
	return s.Authenticated
}

package authorization

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/internal/contract"
)

// audiences is for whom the API server is asked to accept the token: for the relay where the token
// says that it is for the relay (claim aud, RFC 7519), or else nil, for the API server. The claim is not verified
// here; the API server does that, for the audience that it is asked about.
//
// A token of a Secret, which Prometheus sends, names no audience, and a token for the API server
// is taken from those who have no other.
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
		Audience audience `json:"aud"`
	}
	if json.Unmarshal(payload, &claims) != nil || !slices.Contains(claims.Audience, contract.RelayAudience) {
		return nil
	}
	return []string{contract.RelayAudience}
}

// audience is one name or several.
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(content []byte) error {
	var one string
	if json.Unmarshal(content, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(content, (*[]string)(a))
}

// accepted reports whether the API server has reviewed the token for what it was asked about. One
// that does not know audiences returns none (TokenReviewStatus, k8s.io/api/authentication/v1): then the token is good for
// the API server, which is not what was asked.
func (s tokenReviewStatus) accepted(asked []string) bool {
	if !s.Authenticated {
		return false
	}
	for _, name := range asked {
		if !slices.Contains(s.Audiences, name) {
			return false
		}
	}
	return true
}

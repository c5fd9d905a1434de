package authorization

// The objects' fields that are needed, as in k8s.io/api; a test compares them.

type tokenReview struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Spec       tokenReviewSpec   `json:"spec"`
	Status     tokenReviewStatus `json:"status,omitzero"`
}

type tokenReviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences,omitempty"`
}

type tokenReviewStatus struct {
	Authenticated bool     `json:"authenticated,omitempty"`
	User          user     `json:"user,omitzero"`
	Audiences     []string `json:"audiences,omitempty"`
}

type user struct {
	Username string              `json:"username,omitempty"`
	UID      string              `json:"uid,omitempty"`
	Groups   []string            `json:"groups,omitempty"`
	Extra    map[string][]string `json:"extra,omitempty"`
}

type accessReview struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Spec       accessReviewSpec   `json:"spec"`
	Status     accessReviewStatus `json:"status,omitzero"`
}

type accessReviewSpec struct {
	NonResourceAttributes nonResourceAttributes `json:"nonResourceAttributes"`
	User                  string                `json:"user,omitempty"`
	Groups                []string              `json:"groups,omitempty"`
	UID                   string                `json:"uid,omitempty"`
	Extra                 map[string][]string   `json:"extra,omitempty"`
}

type nonResourceAttributes struct {
	Path string `json:"path"`
	Verb string `json:"verb"`
}

type accessReviewStatus struct {
	Allowed bool `json:"allowed,omitempty"`
	Denied  bool `json:"denied,omitempty"`
}

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

package authorization

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// CompareReviews writes every field of ours, lets Kubernetes' types read them
// strictly, and reads back what those write.
func CompareReviews(t *testing.T, token, access any) {
	who := newTokenReview("t", []string{"a"})
	who.Status = tokenReviewStatus{Authenticated: true, User: user{"n", "u", []string{"g"}, map[string][]string{"k": {"v"}}}, Audiences: []string{"a"}}
	var whoBack tokenReview
	roundTrip(t, who, token, &whoBack)
	require.Equal(t, who, whoBack)

	may := newAccessReview(who.Status.User, "/p")
	may.Status = accessReviewStatus{Allowed: true, Denied: true}
	var mayBack accessReview
	roundTrip(t, may, access, &mayBack)
	require.Equal(t, may, mayBack)
}

func roundTrip(t *testing.T, ours, theirs, back any) {
	t.Helper()
	written, err := json.Marshal(ours)
	require.NoError(t, err)
	strict := json.NewDecoder(bytes.NewReader(written))
	strict.DisallowUnknownFields()
	require.NoError(t, strict.Decode(theirs))
	written, err = json.Marshal(theirs)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(written, back))
}

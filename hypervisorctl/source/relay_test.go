package source

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// An answer is about one pod: the pod has no series, or the relay could not be asked about it.
func TestRefusal(t *testing.T) {
	challenge := http.Header{"Www-Authenticate": {"Bearer"}}
	tests := map[string]struct {
		status  int
		header  http.Header
		body    string
		want    string
		unasked bool
	}{
		"page":                                   {200, nil, "x 1\n", "", false},
		"no such pod":                            {404, nil, "no such pod on this node\nmore", "the relay answered 404: no such pod on this node", false},
		"token not accepted":                     {401, challenge, "want a token", "does not accept tokens for the audience hypervisor-exporter-relay: upgrade it", true},
		"a pod's 401, by a relay before":         {401, nil, "the pod answered with status 401", "the relay answered 401: the pod answered with status 401", false},
		"the account has no right":               {403, nil, "the token's owner lacks the right", "apply manifests/relay/scraper.yaml again", true},
		"a pod's 403, by a relay before":         {403, nil, "the pod answered with status 403", "the relay answered 403: the pod answered with status 403", false},
		"a pod's failure":                        {502, nil, "the pod answered with an error", "the relay answered 502: the pod answered with an error", false},
		"a redirect":                             {302, http.Header{"Location": {"http://evil.example"}}, "", "the relay answered 302: ", false},
		"a body that a terminal would interpret": {500, nil, "\x1b[2J\u202e\r", `the relay answered 500: \u001b[2J\u202e\u000d`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := refusal(&http.Response{StatusCode: test.status, Header: test.header}, []byte(test.body))
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
			var unasked *UnaskedError
			require.Equal(t, test.unasked, errors.As(err, &unasked))
		})
	}
}

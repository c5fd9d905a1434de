package scrape

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const someUID = "de0d9c32-29da-4e4a-97da-26f918ca12d6"

func TestParsePath(t *testing.T) {
	uid, ok := ParsePath("/pods/" + someUID + "/metrics")
	require.True(t, ok)
	require.EqualValues(t, someUID, uid)
	for _, bad := range []string{
		"", "/", "/metrics", "/pods/metrics", "/pods//metrics", "/pods/" + someUID, "/pods/" + someUID + "/metrics/",
		"/pods/" + someUID + "/metrics/../metrics", "/pods/./" + someUID + "/metrics", "//pods/" + someUID + "/metrics",
		"/pods/../pods/" + someUID + "/metrics", "/pods/" + someUID + "%2fmetrics", "/pods/%64" + someUID[1:] + "/metrics",
		"/pods/" + strings.ToUpper(someUID) + "/metrics", "/pods/" + someUID + "/Metrics", "/pods/" + someUID + "/a/metrics",
	} {
		_, ok := ParsePath(bad)
		require.False(t, ok, "%q", bad)
	}
}

// FuzzPath: what is taken for a uid is one path component, and the only way to
// write it.
func FuzzPath(f *testing.F) {
	f.Add("/pods/" + someUID + "/metrics")
	f.Add("/pods/../" + someUID + "/metrics")
	f.Fuzz(func(t *testing.T, target string) {
		parsed, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		uid, ok := ParsePath(parsed.EscapedPath())
		if !ok {
			return
		}
		require.Regexp(t, `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, uid)
		require.Equal(t, "/pods/"+string(uid)+"/metrics", parsed.EscapedPath())
	})
}

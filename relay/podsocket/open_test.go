package podsocket

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWalkLeavesNowhere: the path comes from a checked uid; even if it did not, the
// walk would stay below the folder, as openat2 does.
func TestWalkLeavesNowhere(t *testing.T) {
	dir, err := unix.Open(t.TempDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer func() { _ = unix.Close(dir) }()
	for _, path := range []string{"../etc", "/etc", "..", "a/../../etc"} {
		_, err := walk(dir, path)
		require.Error(t, err, path)
		_, err = openat2(dir, path)
		require.Error(t, err, path)
	}
}

func TestUsable(t *testing.T) {
	require.NoError(t, usable(openat2))
	for _, refusal := range []error{unix.ENOSYS, unix.EPERM} {
		require.ErrorIs(t, usable(func(int, string) (int, error) { return -1, refusal }), refusal)
	}
}

func TestParseUID(t *testing.T) {
	const good = "de0d9c32-29da-4e4a-97da-26f918ca12d6"
	uid, err := ParseUID(good)
	require.NoError(t, err)
	require.Equal(t, UID(good), uid)
	for _, bad := range []string{
		"", ".", "..", "../" + good, good + "/", "/" + good, good + "\x00", " " + good, good + "\n",
		strings.ToUpper(good), strings.ReplaceAll(good, "-", ""), "{" + good + "}", "urn:uuid:" + good,
		good[:35], good + "0", strings.Replace(good, "-", "/", 1), strings.Replace(good, "d", "g", 1),
		"%64e0d9c32-29da-4e4a-97da-26f918ca12d6", strings.Repeat("a", 1<<16),
	} {
		_, err := ParseUID(bad)
		require.Error(t, err, "%q", bad)
		require.Less(t, len(err.Error()), 200, "an error quotes little of foreign input")
	}
}

// NewWalking is New where openat2 is refused.
func NewWalking(dir string) *Pods {
	return &Pods{dir: dir, open: walk, denied: unix.ENOSYS}
}

package podsocket

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestWalkLeavesNowhere: the path comes from a checked uid; should it ever not, the
// walk stays below all the same, as openat2 does.
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

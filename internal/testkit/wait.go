package testkit

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience bounds every wait for something that must happen. It is generous: a busy machine is no reason to fail.
const Patience = time.Minute

// Eventually calls ask until it returns nil. After Patience the test fails with the last error.
func Eventually(t testing.TB, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "after %s", Patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// FreeAddress returns a TCP address of this machine on which nothing listens now.
func FreeAddress(t testing.TB) string {
	t.Helper()
	address, err := Address()
	require.NoError(t, err)
	return address
}

// Address is FreeAddress without a test.
func Address() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// Soak reports whether the long loops run, too: `make soak` sets KHE_SOAK=1.
func Soak() bool { return os.Getenv("KHE_SOAK") == "1" }

package session

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTicker(t *testing.T) {
	began := time.Now()
	ticker, err := newTicker(20 * time.Millisecond)
	require.NoError(t, err)
	for range 3 {
		select {
		case <-ticker.C:
		case <-time.After(10 * time.Second):
			require.Fail(t, "no tick")
		}
	}
	require.GreaterOrEqual(t, time.Since(began), 60*time.Millisecond)
	ticker.Stop() // goleak checks that its goroutine has ended

	_, err = newTicker(-1)
	require.Error(t, err)
}

package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReadsItself(t *testing.T) {
	m, err := readMemory(os.Getpid())
	require.NoError(t, err)
	require.Greater(t, m.anonymous, 100e3)
	require.GreaterOrEqual(t, m.resident, m.anonymous)

	before, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	_, err = voluntarySwitches(os.Getpid())
	require.NoError(t, err)
	// The scheduler accounts for a running thread at its next tick.
	require.Eventually(t, func() bool {
		after, err := cpuTime(os.Getpid())
		return err == nil && after > before
	}, 10*time.Second, time.Millisecond)
}

func TestStatusField(t *testing.T) {
	status := []byte("Name:\tx\nVmRSS:\t   15080 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\nEmpty:\n")
	value, err := statusField(status, "voluntary_ctxt_switches")
	require.NoError(t, err)
	require.Equal(t, 7.0, value)
	value, err = statusField(status, "VmRSS")
	require.NoError(t, err)
	require.Equal(t, 15080.0, value)
	_, err = statusField(status, "Empty")
	require.Error(t, err)
}

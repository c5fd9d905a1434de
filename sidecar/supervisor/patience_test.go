package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPause(t *testing.T) {
	p := patience{first: 100 * time.Millisecond, most: 10 * time.Second, reset: time.Minute}
	pause, pauses := time.Duration(-1), []time.Duration{}
	for range 10 {
		pause = p.pause(time.Millisecond, pause)
		pauses = append(pauses, pause)
	}
	const ms = time.Millisecond
	require.Equal(t, []time.Duration{0, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms}, pauses)
	require.Equal(t, 10*time.Second, p.pause(time.Minute-1, 10*time.Second))
	require.Zero(t, p.pause(time.Minute, 10*time.Second), "it lived a minute: its end counts as the first")
}

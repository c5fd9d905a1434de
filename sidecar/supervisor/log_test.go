package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLine(t *testing.T) {
	now := time.Date(2026, 11, 23, 7, 0, 0, 5e6, time.UTC)
	reason := `cannot be started: "no such"`
	plain := log{}.line(now, reason, 3, 200*time.Millisecond)
	require.Equal(t, `time=2026-11-23T07:00:00.005Z level=WARN source=supervisor msg="the exporter ended; starting it anew" reason="cannot be started: \"no such\"" restarts=3 wait=200ms`+"\n", string(plain))

	var fields map[string]any
	require.NoError(t, json.Unmarshal(log{json: true}.line(now, reason, 3, 0), &fields))
	require.Equal(t, map[string]any{
		"time": "2026-11-23T07:00:00.005Z", "level": "WARN", "source": "supervisor",
		"msg": "the exporter ended; starting it anew", "reason": reason, "restarts": 3.0, "wait": "0s",
	}, fields)
}

func TestWantsJSON(t *testing.T) {
	for command, want := range map[string]bool{
		"/sidecar":                     false,
		"/sidecar --log.format=json":   true,
		"/sidecar --log.format json":   true,
		"/sidecar --log.format=logfmt": false,
		"/sidecar json --log.format":   false,
	} {
		require.Equal(t, want, wantsJSON(strings.Fields(command)), command)
	}
}

// A pipe that is full and that nobody reads keeps nobody waiting.
func TestLogDoesNotWait(t *testing.T) {
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	l := newLog(writer.Fd(), false)
	for range 2000 { // more than a pipe and the backlog hold
		l.restart("x", 1, 0)
	}
	close(l.lines)
	require.NoError(t, reader.Close())
	require.NoError(t, writer.Close())
}

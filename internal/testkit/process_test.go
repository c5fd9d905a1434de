package testkit

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcess(t *testing.T) {
	start := func(t *testing.T, script string) *Process {
		p, err := Start(filepath.Join(t.TempDir(), "log"), exec.Command("sh", "-c", script))
		require.NoError(t, err)
		t.Cleanup(p.Kill)
		return p
	}
	t.Run("exit code and log", func(t *testing.T) {
		p := start(t, "echo out; echo err >&2; exit 3")
		<-p.Ended()
		require.Equal(t, 3, p.ExitCode())
		require.Equal(t, "out\nerr\n", p.Log())
	})
	t.Run("terminated", func(t *testing.T) {
		p := start(t, `trap "exit 0" TERM; echo ready; while :; do sleep 0.01; done`)
		require.Equal(t, 1, p.AwaitLog(t, "ready"))
		require.Equal(t, -1, p.ExitCode())
		require.NoError(t, p.Terminate(Patience))
	})
	t.Run("does not end", func(t *testing.T) {
		p := start(t, `trap "" TERM; echo ready; while :; do sleep 0.01; done`)
		p.AwaitLog(t, "ready")
		require.ErrorContains(t, p.Terminate(50*time.Millisecond), "still ran 50ms after SIGTERM")
	})
}

func TestBuild(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, Build(t.Context(), folder, "./sidecar/supervisor"))
	require.FileExists(t, filepath.Join(folder, "supervisor"))
	require.ErrorContains(t, Build(t.Context(), folder, "./no-such"), "build [./no-such]")
}

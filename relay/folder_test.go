package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/procfs"
	"github.com/stretchr/testify/require"
)

// TestFolderIsCheckedRarely: many requests for /readyz cause few checks and no log lines; each change is logged once.
func TestFolderIsCheckedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var answer error
		checks := 0
		folder := &kubeletFolder{logger: slog.New(slog.NewTextHandler(&log, nil)), check: func() error {
			checks++
			return answer
		}}
		ask := func(want error) {
			t.Helper()
			for range 1000 {
				require.Equal(t, want, folder.Err())
			}
		}
		ask(nil)
		require.Equal(t, 1, checks)
		require.Empty(t, log.String())
		answer = errors.New("wrong folder")
		ask(nil)
		for range 5 {
			time.Sleep(recheck)
			ask(answer)
		}
		require.Equal(t, 6, checks)
		require.Equal(t, 1, strings.Count(log.String(), "wrong folder"))
		answer = nil
		time.Sleep(recheck)
		ask(nil)
		require.Equal(t, 1, strings.Count(log.String(), "can be used now"))
		require.Equal(t, 2, strings.Count(log.String(), "\n"))
	})
}

// TestFolderThatHangs: a disk that hangs blocks one check, not each probe, and the relay is not ready meanwhile.
func TestFolderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		folder := &kubeletFolder{logger: slog.New(slog.DiscardHandler), check: func() error {
			<-hang
			return nil
		}}
		go func() { _ = folder.Err() }()
		synctest.Wait()
		require.ErrorContains(t, folder.Err(), "for the first time")
		hang <- struct{}{}
		synctest.Wait()
		require.NoError(t, folder.Err())
		time.Sleep(10 * stuck)
		go func() { _ = folder.Err() }()
		synctest.Wait()
		require.NoError(t, folder.Err(), "the check has just begun, and the last result is old because no one asked")
		time.Sleep(stuck + time.Second)
		require.ErrorContains(t, folder.Err(), "has not answered for 11s")
		hang <- struct{}{}
		synctest.Wait()
		require.NoError(t, folder.Err())
	})
}

func TestMountsBelowTheFolder(t *testing.T) {
	const folder, pod = "/var/lib/kubelet/pods", "/var/lib/kubelet/pods/11111111-1111-4111-8111-111111111111"
	only := func(option string) map[string]string { return map[string]string{option: ""} }
	total, writable := mountsBelow(folder, []*procfs.MountInfo{
		{MountPoint: "/", Options: only("rw"), SuperOptions: only("rw")},
		{MountPoint: folder, Options: only("ro"), SuperOptions: only("rw")},
		{MountPoint: pod + "/volumes/kubernetes.io~secret/tls", Options: only("rw"), SuperOptions: only("rw")},
		{MountPoint: pod + "/volumes/kubernetes.io~csi/pvc", Options: only("rw"), SuperOptions: only("ro")},
		{MountPoint: folder + "-of-another/x", Options: only("rw"), SuperOptions: only("rw")},
	})
	require.Equal(t, 3, total, "the folder itself, and what is mounted below it")
	require.Equal(t, 1, writable, "a file system that is mounted read-only as a whole is not")
}

package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFolderIsCheckedRarely: strangers who ask /readyz cause few checks and no log lines; each change is logged once.
func TestFolderIsCheckedRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var answer error
		checks := 0
		folder := &kubeletFolder{now: time.Now, logger: slog.New(slog.NewTextHandler(&log, nil)), check: func() error {
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

// TestFolderThatHangs: a disk that hangs holds one check, not each probe, and the relay is not ready meanwhile.
func TestFolderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		folder := &kubeletFolder{now: time.Now, logger: slog.New(slog.DiscardHandler), check: func() error {
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
		require.NoError(t, folder.Err(), "the check has just begun, and the last finding is old because nobody asked")
		time.Sleep(stuck + time.Second)
		require.ErrorContains(t, folder.Err(), "has not answered for 11s")
		hang <- struct{}{}
		synctest.Wait()
		require.NoError(t, folder.Err())
	})
}

const someMounts = `1 0 259:1 / / ro,relatime - overlay overlay ro,lowerdir=/a
2 1 259:1 /var/lib/k0s/kubelet/pods /var/lib/kubelet/pods ro,relatime - ext4 /dev/root rw
3 2 0:50 / /var/lib/kubelet/pods/11111111-1111-4111-8111-111111111111/volumes/kubernetes.io~secret/tls rw,relatime shared:1 master:2 - tmpfs tmpfs rw,size=1k
4 2 0:51 / /var/lib/kubelet/pods/11111111-1111-4111-8111-111111111111/volumes/kubernetes.io~csi/pvc rw,relatime - ext4 /dev/sdb ro
5 2 0:52 / /var/lib/kubelet/pods-of-another/x rw,relatime - tmpfs tmpfs rw
6 1 259:1 /var/lib/k0s/kubelet/pods/22222222-2222-4222-8222-222222222222/etc-hosts /etc/hosts rw,relatime - ext4 /dev/root rw
nonsense
7 1 0:1 / /short
`

func TestMountsBelowTheFolder(t *testing.T) {
	mounts := parseMounts(strings.NewReader(someMounts))
	require.Len(t, mounts, 6)
	total, writable := mountsBelow("/var/lib/kubelet/pods", mounts)
	require.Equal(t, 3, total, "the folder itself, and what is mounted below it")
	require.Equal(t, 1, writable, "a file system that is mounted read-only as a whole is not")
}

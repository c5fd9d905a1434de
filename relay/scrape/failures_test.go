package scrape

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

func TestLoggedOncePerChange(t *testing.T) {
	var log bytes.Buffer
	f := newFailures(slog.New(slog.NewTextHandler(&log, nil)))
	note := func(result Result, wantLines int, says string) {
		t.Helper()
		log.Reset()
		var err error
		if result != OK {
			err = errors.New("reason")
		}
		f.note("pod", result, err)
		require.Equal(t, wantLines, strings.Count(log.String(), "\n"), "%s", &log)
		require.Contains(t, log.String(), says)
	}
	note(OK, 0, "")
	note(Timeout, 1, "result=timeout")
	note(Timeout, 0, "")
	note(PodBusy, 0, "")
	note(ClientGone, 0, "")
	note(Malformed, 1, "result=malformed")
	note(OK, 1, "work again")
	note(OK, 0, "")
	note(Refused, 1, "result=refused")
	note(Gone, 0, "")
	require.Empty(t, f.failing, "a pod that is gone is not remembered")
}

func TestFailuresAreBounded(t *testing.T) {
	f := newFailures(slog.New(slog.DiscardHandler))
	for pod := range 2 * maxFailing {
		f.note(podsocket.UID(fmt.Sprint(pod)), Timeout, errors.New("reason"))
	}
	require.Len(t, f.failing, maxFailing)
}

// TestEveryFailureIsAnError: whatever fails, known or not, the answer is an error's and none is counted as ok.
func TestEveryFailureIsAnError(t *testing.T) {
	for _, err := range []error{
		errors.New("unknown"), context.Canceled, io.EOF, os.ErrDeadlineExceeded, unix.EPROTOTYPE,
		podsocket.ErrGone, podsocket.ErrForeign, podsocket.ErrRefused, podsocket.ErrNode, failed(Malformed, "inner"),
	} {
		for _, end := range []*outcome{dialOutcome(err), transferOutcome(err, "read"), headOutcome(err)} {
			require.NotEqual(t, OK, end.result, "%v", err)
			require.ErrorContains(t, end, end.result.String())
		}
	}
	labels := map[string]bool{}
	for result, row := range results {
		labels[row.label] = true
		require.NotEmpty(t, row.sentence)
		require.True(t, Result(result) == OK || row.code >= 400, row.label)
	}
	require.Len(t, labels, len(results))
	require.NotContains(t, labels, "")
}

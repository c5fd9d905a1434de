package scrape

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

func TestLoggedOncePerChange(t *testing.T) {
	var log bytes.Buffer
	c := newChanges(slog.New(slog.NewTextHandler(&log, nil)))
	note := func(result Result, wantLines int, says string) {
		t.Helper()
		log.Reset()
		var err error
		if result != OK {
			err = errors.New("reason")
		}
		c.note("pod", result, err)
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
	require.Empty(t, c.ailing, "a pod that is gone is forgotten")
}

func TestChangesAreBounded(t *testing.T) {
	c := newChanges(slog.New(slog.DiscardHandler))
	for pod := range 2 * maxAiling {
		c.note(podsocket.UID(fmt.Sprint(pod)), Timeout, errors.New("reason"))
	}
	require.Len(t, c.ailing, maxAiling)
}

func TestResultsAreToldApart(t *testing.T) {
	labels := map[string]bool{}
	for result := range results {
		labels[result.String()] = true
		require.NotEmpty(t, result.Sentence())
		require.True(t, result == OK || result.Code() >= 400, result)
	}
	require.Len(t, labels, int(results))
	require.False(t, labels[results.String()])
}

package clustertest

import (
	"context"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

var failOpen = regexp.MustCompile(`(?m)^apiserver_admission_webhook_fail_open_count\{.*name="inject\.hypervisor-exporter\.kubevirt\.io".*\} (\d+)$`)

// failedOpen is how often the API server has called our webhook in vain and gone on, by its own count.
func failedOpen(ctx context.Context, t testing.TB) int {
	t.Helper()
	metrics, err := server.Client.CoreV1().RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	require.NoError(t, err)
	total := 0
	for _, match := range failOpen.FindAllSubmatch(metrics, -1) {
		count, err := strconv.Atoi(string(match[1]))
		require.NoError(t, err)
		total += count
	}
	return total
}

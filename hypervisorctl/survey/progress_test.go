package survey

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

func TestProgressIsShownOnceItTakesLong(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	line := NewLine(terminal.NewWriter(&out), func() time.Time { return now })
	line.Listed(500)
	line.Done()
	require.Empty(t, out.String(), "nothing within the first second")

	line = NewLine(terminal.NewWriter(&out), func() time.Time { return now })
	now = now.Add(quiet)
	line.Listed(1000)
	line.Listed(1500) // too soon after the last
	now = now.Add(step)
	line.Asked(10, 2000)
	line.Done()
	require.Equal(t, "\r\x1b[Klisted 1000 VMIs …\r\x1b[Kasked for 10 of 2000 VMIs …\r\x1b[K", out.String())
}

package acceptance

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

const (
	// maxResident bounds the sidecar's memory whatever its peer does, in kB.
	maxResident = 64 << 10
	// maxGrowth bounds how much the memory may grow from one state to the same state, in
	// kB: less than the smallest leak that a loop of a hundred faults would show. A
	// goroutine that is left over has a stack, and most hold a connection.
	maxGrowth = 6 << 10
)

// usage is what a sidecar holds of the machine.
type usage struct {
	fds, threads int
	rss          int // kB
}

// usage reads /proc.
func (p *sidecar) usage(t *testing.T) usage {
	t.Helper()
	var u usage
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid()))
	require.NoError(t, err)
	u.fds = len(fds)
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", p.Pid()))
	require.NoError(t, err)
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		number, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "Threads:":
			u.threads = number
		case "VmRSS:":
			u.rss = number
		}
	}
	require.NotZero(t, u.rss)
	return u
}

// String is for the log.
func (u usage) String() string {
	return fmt.Sprintf("%d fds, %d threads, RSS %.1f MiB", u.fds, u.threads, float64(u.rss)/1024)
}

// checkGrowth waits until the sidecar holds no more than before; connections that have
// just been closed take a moment to go. The race detector's own memory is not checked.
func (p *sidecar) checkGrowth(t *testing.T, before usage) {
	t.Helper()
	testkit.Eventually(t, func() error {
		if now := p.usage(t); now.fds > before.fds+1 { // a scrape more or less may be under way
			return fmt.Errorf("grew from %v to %v", before, now)
		}
		return nil
	})
	now := p.usage(t)
	t.Logf("before %v; after %v", before, now)
	require.LessOrEqual(t, now.threads, before.threads+6)
	if p.Path() == plain {
		require.LessOrEqual(t, now.rss, before.rss+maxGrowth)
	}
}

// checkSound: the sidecar lives, has not swollen, and has a well-formed page.
func (p *sidecar) checkSound(t *testing.T, before usage) {
	t.Helper()
	require.True(t, p.alive(), "log: %s", p.LogTail())
	_ = p.page(t)
	now := p.usage(t)
	t.Logf("after %v: %v", hostilities(), now)
	require.Less(t, now.rss, maxResident)
	require.LessOrEqual(t, now.fds, before.fds+4)
}

package acceptance

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// usage is what a sidecar holds of the machine.
type usage struct {
	goroutines, fds, threads int
	rss, anon                int // kB
}

// usage reads /proc, and the page for the goroutines (needs --web.runtime-metrics).
func (p *sidecar) usage(t *testing.T) usage {
	t.Helper()
	u := usage{goroutines: int(p.page(t).number("go_goroutines"))}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	require.NoError(t, err)
	u.fds = len(fds)
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
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
		case "RssAnon:":
			u.anon = number
		}
	}
	require.NotZero(t, u.rss)
	return u
}

// String is for the log.
func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d fds, %d threads, RSS %.1f MiB, anonymous %.1f MiB",
		u.goroutines, u.fds, u.threads, float64(u.rss)/1024, float64(u.anon)/1024)
}

// maxGrowth is what the memory may grow by while nothing is meant to, in kB: less than
// the smallest leak that a loop of a hundred faults would show.
const maxGrowth = 6 << 10

// checkGrowth waits until the sidecar holds no more than before; connections that have
// just been closed take a moment to go. The race detector's own memory is not looked at.
func (p *sidecar) checkGrowth(t *testing.T, before usage) {
	t.Helper()
	eventually(t, func() error {
		now := p.usage(t)
		// A scrape more or less may be under way: a connection has two goroutines.
		if now.goroutines > before.goroutines+2 || now.fds > before.fds+1 {
			return fmt.Errorf("grew from %v to %v", before, now)
		}
		return nil
	})
	now := p.usage(t)
	t.Logf("%s: before %v; after %v", p.cmd.Path[strings.LastIndex(p.cmd.Path, "/")+1:], before, now)
	require.LessOrEqual(t, now.threads, before.threads+6)
	if p.cmd.Path == plain {
		require.LessOrEqual(t, now.rss, before.rss+maxGrowth)
	}
}

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"
)

// FailOpens is what one API server counted since its start.
type FailOpens struct {
	// Count is how many pods it let pass because the webhook did not answer.
	Count int
	Since time.Time
}

// The lines of the API server's page: apiserver_admission_webhook_fail_open_count{name="…",type="admit"} 3
var (
	failOpen     = regexp.MustCompile(`^apiserver_admission_webhook_fail_open_count\{(?:.*,)?name="([^"]*)".*\} (\S+)$`)
	processStart = regexp.MustCompile(`^process_start_time_seconds (\S+)$`)
)

// mostOfMetrics bounds the API server's page, which is some MB.
const mostOfMetrics = 512 << 20

// FailOpens reads the API server's metrics. If there are several API servers, one of them answers.
func (c *Cluster) FailOpens(ctx context.Context, webhook string) (FailOpens, error) {
	stream, err := c.Discovery().RESTClient().Get().AbsPath("/metrics").Stream(ctx)
	if err != nil {
		return FailOpens{}, access(err)
	}
	defer func() { _ = stream.Close() }() // nothing was written
	return readFailOpens(io.LimitReader(stream, mostOfMetrics), webhook)
}

// readFailOpens reads line by line, since the page is large.
func readFailOpens(page io.Reader, webhook string) (FailOpens, error) {
	var found FailOpens
	lines := bufio.NewScanner(page)
	for lines.Scan() {
		if start := processStart.FindSubmatch(lines.Bytes()); start != nil {
			seconds, err := strconv.ParseFloat(string(start[1]), 64)
			if err != nil {
				return found, fmt.Errorf("read the API server's metrics: %w", err)
			}
			found.Since = time.Unix(int64(seconds), 0)
		}
		if one := failOpen.FindSubmatch(lines.Bytes()); one != nil && string(one[1]) == webhook {
			count, err := strconv.ParseFloat(string(one[2]), 64)
			if err != nil {
				return found, fmt.Errorf("read the API server's metrics: %w", err)
			}
			found.Count += int(count)
		}
	}
	if err := lines.Err(); err != nil {
		return found, fmt.Errorf("read the API server's metrics: %w", err)
	}
	return found, nil
}

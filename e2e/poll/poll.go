// Package poll waits for the outside world.
package poll

import (
	"context"
	"fmt"
	"time"
)

// Until calls check about three times a second until it returns nil. After limit, or when ctx ends, it returns the
// last error, and says what was waited for.
func Until(ctx context.Context, limit time.Duration, what string, check func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	started := time.Now()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %.0f s for %s: %w", time.Since(started).Seconds(), what, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

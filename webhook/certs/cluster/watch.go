package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"
)

const (
	// watchLife is when the API server ends a watch of its own accord; the
	// rotation then looks again, so nothing depends on a silent connection.
	watchLife = 5 * time.Minute
	// watchPause lies between two watches: long enough not to hammer an API
	// server that refuses us, short enough for a repair within seconds.
	watchPause = 2 * time.Second
)

// Watch calls changed for each event of the webhook configuration, and once for
// each time the watch had to be started anew, until ctx ends. Only one object
// is watched: RBAC grants a watch by resourceNames when the request carries
// the field selector metadata.name.
func (c *Cluster) Watch(ctx context.Context, changed func()) {
	failing := false
	for ctx.Err() == nil {
		err := c.watchOnce(ctx, changed)
		if err != nil && !failing && ctx.Err() == nil { // once, not every few seconds
			c.logger.Warn("watch of the webhook configuration failed, trying again until it works", "err", err)
		}
		failing = err != nil
		changed()
		pause(ctx, watchPause+rand.N(time.Second))
	}
}

// watchOnce is nil when the server ended the watch in good order.
func (c *Cluster) watchOnce(ctx context.Context, changed func()) error {
	// A network that swallows the connection must not blind us for good.
	ctx, cancel := context.WithTimeout(ctx, watchLife+30*time.Second)
	defer cancel()
	// The watch starts with the object as the API server has it at hand. The newest
	// state would need a progress notice of etcd, which not every etcd gives.
	stream, err := c.client.Get().AbsPath(webhooksPath).
		SetHeader("Accept", "application/json").
		Param("watch", "true").
		Param("resourceVersion", "0").
		Param("fieldSelector", "metadata.name="+c.names.WebhookConfiguration).
		Param("timeoutSeconds", strconv.Itoa(int(watchLife.Seconds()))).
		Stream(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return follow(stream, changed)
}

// follow reads events to the end of the stream.
func follow(stream io.Reader, changed func()) error {
	events := json.NewDecoder(stream)
	for {
		var event struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		switch err := events.Decode(&event); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case event.Type == "ERROR":
			return fmt.Errorf("the API server says: %.200s", event.Object)
		}
		changed()
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

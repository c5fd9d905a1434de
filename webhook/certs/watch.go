package certs

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
	// watchLife is when the API server ends a watch of its own accord; the rotation then reads again, so nothing depends
	// on a silent connection.
	watchLife = 5 * time.Minute
	// watchPause is between two watches: long enough not to burden an API server that refuses us, short enough for a
	// repair within seconds.
	watchPause = 2 * time.Second
)

// Watch calls changed for each event of the webhook configuration, and once each time the watch has to start again, until
// ctx ends. Only one object is watched: RBAC grants a watch by resourceNames if the request carries the field selector
// metadata.name. A ConfigMap is not watched, which needs a right that the process does not have: it is read every half
// minute.
func (s *KubeStore) Watch(ctx context.Context, changed func()) {
	if s.names.TrustConfigMap != "" {
		<-ctx.Done()
		return
	}
	failing := false
	for ctx.Err() == nil {
		err := s.watchOnce(ctx, changed)
		if err != nil && !failing && ctx.Err() == nil { // once, not every few seconds
			s.logger.Warn("watch of the webhook configuration failed, trying again until it works", "err", err)
		}
		failing = err != nil
		changed()
		sleep(ctx, watchPause+rand.N(time.Second), nil)
	}
}

// watchOnce returns nil if the server ended the watch as agreed.
func (s *KubeStore) watchOnce(ctx context.Context, changed func()) error {
	// A network that swallows the connection must not blind us for good.
	ctx, cancel := context.WithTimeout(ctx, watchLife+30*time.Second)
	defer cancel()
	// The watch starts with the object as the API server has it in its cache. The newest state would need a progress
	// notice of etcd, which not every etcd gives.
	stream, err := s.client.Get().AbsPath(webhooksPath).
		SetHeader("Accept", "application/json").
		Param("watch", "true").
		Param("resourceVersion", "0").
		Param("fieldSelector", "metadata.name="+s.names.WebhookConfiguration).
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
			return fmt.Errorf("the API server reports: %.200s", event.Object)
		}
		changed()
	}
}

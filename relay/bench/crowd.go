package main

import (
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/podtest"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// A crowd is many sidecars' pages on as many sockets.
type crowd struct {
	dir     string
	uids    []podsocket.UID
	servers []*http.Server
	serving sync.WaitGroup
}

// still is a VM of which there is nothing new.
type still struct{ snapshot *hypervisor.Snapshot }

// Snapshot implements exposition.Source.
func (s still) Snapshot() *hypervisor.Snapshot { return s.snapshot }

func newCrowd(kubelet podtest.Kubelet, size int) (*crowd, error) {
	c := &crowd{dir: kubelet.Dir}
	if err := os.Mkdir(kubelet.Dir, 0o750); err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	identity, err := hypervisor.NewIdentity("bench", "vm", "node")
	if err != nil {
		return nil, err
	}
	snapshot := hypervisor.NewTracker(identity, 30*time.Second, time.Now, logger).Snapshot()
	for range size {
		pod, err := kubelet.AddPod()
		if err != nil {
			c.close()
			return nil, err
		}
		listener, err := pod.Listen()
		if err != nil {
			c.close()
			return nil, err
		}
		server := &http.Server{Handler: exposition.NewHandler(exposition.Config{
			Source: still{snapshot}, Now: time.Now, Ready: func() bool { return true }, TelemetryPath: "/metrics", Logger: logger,
		})}
		c.uids, c.servers = append(c.uids, pod.UID), append(c.servers, server)
		c.serving.Go(func() { _ = server.Serve(listener) }) // ends with close
	}
	return c, nil
}

func (c *crowd) close() {
	for _, server := range c.servers {
		_ = server.Close()
	}
	c.serving.Wait()
}

package main

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/sidecar/exposition"
	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// A crowd is many sidecars' pages on as many sockets.
type crowd struct {
	pods    *podsocket.Pods
	uids    []podsocket.UID
	servers []*http.Server
	serving sync.WaitGroup
}

// still is a VM of which there is nothing new.
type still struct{ snapshot *hypervisor.Snapshot }

// Snapshot implements exposition.Source.
func (s still) Snapshot() *hypervisor.Snapshot { return s.snapshot }

// HeardAt implements exposition.Source.
func (s still) HeardAt() time.Time { return time.Now() }

// newStill is a VM that runs on KVM.
func newStill(logger *slog.Logger) (still, error) {
	identity, err := hypervisor.NewIdentity("bench", "vm", "node")
	if err != nil {
		return still{}, err
	}
	tracker := hypervisor.NewTracker(identity, 30*time.Second, time.Now, logger)
	tracker.Connected(hypervisor.Versions{Hypervisor: "7.2.19", Libvirt: "9.0.0"})
	tracker.Observed(hypervisor.Observation{Domains: []hypervisor.Domain{{
		Name: identity.DomainName(), State: hypervisor.State{State: libvirt.DomainRunning},
		Description: hypervisor.Describe(strings.NewReader(`<domain type="kvm"/>`)),
	}}})
	return still{tracker.Snapshot()}, nil
}

// newCrowd makes the kubelet's folder and starts the servers. It must be closed.
func newCrowd(dir string, size int) (*crowd, error) {
	c := &crowd{pods: podsocket.New(dir)}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	source, err := newStill(logger)
	if err != nil {
		return nil, err
	}
	for range size {
		handler := exposition.NewHandler(exposition.Config{
			Source: source, Now: time.Now, Ready: func() bool { return true }, Logger: logger,
		})
		if err := c.add(podtest.Kubelet{Dir: dir}, handler); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

func (c *crowd) add(kubelet podtest.Kubelet, handler http.Handler) error {
	pod, err := kubelet.AddPod()
	if err != nil {
		return err
	}
	listener, err := pod.Listen()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	c.uids, c.servers = append(c.uids, pod.UID), append(c.servers, server)
	c.serving.Go(func() { _ = server.Serve(listener) }) // ends with close
	return nil
}

// save writes a page, as the first of them answers, into a file.
func (c *crowd) save(file string) error {
	request, err := newRequest("http://localhost/metrics")
	if err != nil {
		return err
	}
	response, err := socketClient(c.pods, c.uids[0]).Do(request)
	if err != nil {
		return err
	}
	page, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	return os.WriteFile(file, page, 0o600)
}

func (c *crowd) close() {
	for _, server := range c.servers {
		_ = server.Close()
	}
	c.serving.Wait()
}

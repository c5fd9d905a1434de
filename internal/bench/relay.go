package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/internal/testkit/reviewer"
)

const (
	// pods is how many VMs are on the relay's node, interval how often Prometheus scrapes each.
	pods     = 250
	interval = 15 * time.Second
	// sidecarPage is a page as the sidecar serves it.
	sidecarPage = "sidecar/exposition/testdata/kvm.openmetrics"
	// relayEnvironment is the environment in the relay's image.
	relayEnvironment = "GOMAXPROCS=1"
)

// relay measures the relay with TLS and authorization, as it is installed, between a client and 250 sockets that
// answer a sidecar's page from this process. The yardstick is a plain Go server of the same page over TLS.
func (b *bench) relay(ctx context.Context) (*table, error) {
	page, err := compressed(sidecarPage)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.folder, "page")
	if err := os.WriteFile(file, page, 0o600); err != nil {
		return nil, err
	}
	kubelet := podtest.Kubelet{Dir: filepath.Join(b.folder, "pods")}
	uids, stop, err := servePods(kubelet, page)
	defer stop()
	if err != nil {
		return nil, err
	}
	api, err := reviewer.New(filepath.Join(b.folder, "serviceaccount"), 0)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	pair, err := b.newKeyPair()
	if err != nil {
		return nil, err
	}
	t := newTable(b.columns("plain server"))
	if err := b.sizes(t, "relay", ""); err != nil {
		return nil, err
	}
	servers, stopServers, err := startAll(t, func(column int) (*server, error) {
		if column < len(b.binaries) {
			return b.startRelay(ctx, b.binaries[column], kubelet.Dir, uids, pair, api)
		}
		return b.startYardstick(ctx, &server{header: scrapeHeader(reviewer.Token()), want: "hypervisor_exporter_"}, pair, file)
	})
	defer stopServers()
	if err != nil {
		return nil, err
	}
	if err := b.calm(ctx, t, servers); err != nil {
		return nil, err
	}
	progress("relay: one scrape after the other")
	for range pick(b, 100, 10) {
		for column, s := range servers {
			took, cpu, err := s.load(ctx, 1, pods)
			if err != nil {
				return nil, err
			}
			t.add(column, "one after the other: latency p50", micro, quantile(took, 0.5))
			t.add(column, "one after the other: latency p99", micro, quantile(took, 0.99))
			t.add(column, "one after the other: CPU per scrape", micro, cpu)
		}
	}
	return t, t.addMemory("at the end", servers)
}

// calm scrapes each pod once an interval, spread over it as Prometheus does: each scrape finds the process asleep.
func (b *bench) calm(ctx context.Context, t *table, servers []*server) error {
	turns, length := pick(b, 5, 1), pick(b, 40*time.Second, 5*time.Second)
	for turn := range turns {
		for column, s := range servers {
			progress("relay: turn %d of %d: %s, %d pods every %s, for %s",
				turn+1, turns, t.columns[column], pods, interval, length)
			before, err := read(s.pid)
			if err != nil {
				return err
			}
			took, err := everyInterval(ctx, s, length)
			if err != nil {
				return err
			}
			after, err := read(s.pid)
			if err != nil {
				return err
			}
			const when = "250 pods every 15 s: "
			cpu := (after.cpu - before.cpu).Seconds()
			t.add(column, when+"latency p50", micro, quantile(took, 0.5))
			t.add(column, when+"CPU per scrape", micro, cpu/float64(len(took)))
			t.add(column, when+"CPU, of a core", percent, cpu/length.Seconds())
			t.add(column, when+"VmRSS", mebibytes, after.resident)
			t.add(column, when+"open files", count, after.files)
		}
	}
	return nil
}

func everyInterval(ctx context.Context, s *server, length time.Duration) ([]time.Duration, error) {
	ticker := time.NewTicker(interval / pods)
	defer ticker.Stop()
	var all []time.Duration
	for began := time.Now(); time.Since(began) < length; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
		took, err := s.ask(ctx, len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

// startRelay starts it as the DaemonSet does. Its network, capabilities and read-only folders are left out: they
// cost a scrape nothing.
func (b *bench) startRelay(
	ctx context.Context, binaries, kubelet string, uids []string, pair keyPair, api *reviewer.Reviewer,
) (*server, error) {
	address, err := testkit.Address()
	if err != nil {
		return nil, err
	}
	run, err := command(ctx, filepath.Join(binaries, "relay"), "--kubelet-pods-dir="+kubelet, "--listen-address="+address,
		"--tls-cert-file="+pair.cert, "--tls-private-key-file="+pair.key, "--log-level=warn")
	if err != nil {
		return nil, err
	}
	mounted, err := api.Mounted(run.Args...)
	if err != nil {
		return nil, err
	}
	run = exec.Command(mounted[0], mounted[1:]...)
	run.Env = append(os.Environ(), relayEnvironment)
	s := &server{client: pair.client(), header: scrapeHeader(reviewer.Token()), want: "hypervisor_exporter_"}
	s.url = func(i int) string { return "https://" + address + "/pods/" + uids[i%len(uids)] + "/metrics" }
	return b.launch(ctx, s, run)
}

// compressed returns what is in a file, with gzip.
func compressed(file string) ([]byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("run this in the top folder of the repository: %w", err)
	}
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	_, err = writer.Write(content)
	err = errors.Join(err, writer.Close())
	return buffer.Bytes(), err
}

// servePods answers the page on the sockets of all pods until stop is called.
func servePods(kubelet podtest.Kubelet, page []byte) (uids []string, stop func(), err error) {
	server := &http.Server{Handler: answerPage(page)}
	stop = func() { _ = server.Close() }
	if err := os.Mkdir(kubelet.Dir, 0o750); err != nil {
		return nil, stop, err
	}
	for range pods {
		pod, err := kubelet.AddPod()
		if err != nil {
			return nil, stop, err
		}
		listener, err := pod.Listen()
		if err != nil {
			return nil, stop, fmt.Errorf("listen for pod %s: %w", pod.UID, err)
		}
		go func() { _ = server.Serve(listener) }() // until stop
		uids = append(uids, string(pod.UID))
	}
	return uids, stop, nil
}

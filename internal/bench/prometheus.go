package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

const (
	// scrapeInterval is kube-prometheus' default.
	scrapeInterval = 30 * time.Second
	// settledScrapes is how often each target is scraped before memory is read, and measuredScrapes how often while it is.
	settledScrapes, measuredScrapes = 4, 5
)

// prometheusMemory measures a real Prometheus that scrapes 10,000 VMs, beside one whose 10,000 targets serve empty pages. One
// page, of a real sidecar beside a real VM, is served for all: their target labels differ, as they do in a cluster.
func (b *bench) prometheusMemory(ctx context.Context) (t *table, err error) {
	progress("prometheus: starting libvirt with a VM")
	daemon, err := libvirttest.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, daemon.Close()) }()
	if _, err := daemon.Run(ctx, libvirttest.Guest{Namespace: "bench", Name: "vm", Type: libvirttest.TCG, Program: libvirttest.Idle}); err != nil {
		return nil, err
	}
	t = newTable(b.columns("empty pages"))
	for column := range t.columns {
		page := ""
		if column < len(b.binaries) {
			if page, err = b.pageOf(ctx, column, daemon); err != nil {
				return nil, err
			}
		}
		progress("prometheus: %s", t.columns[column])
		if err := b.scrapeFleet(ctx, t, column, page); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// pageOf returns the page of a column's sidecar once it has settled.
func (b *bench) pageOf(ctx context.Context, column int, daemon *libvirttest.Daemon) (string, error) {
	sidecar, err := b.startSidecar(ctx, column, daemon)
	if err != nil {
		return "", err
	}
	defer sidecar.process.Kill()
	if err := pause(ctx, settling); err != nil {
		return "", err
	}
	response, err := sidecar.client.Get(sidecar.url(0))
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	page, err := io.ReadAll(response.Body)
	return string(page), err
}

// scrapeFleet starts Prometheus with 10,000 targets, all at one server, and adds what it needs once it has scraped them.
func (b *bench) scrapeFleet(ctx context.Context, t *table, column int, page string) error {
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, page)
	}))
	defer pages.Close()
	folder, vms := filepath.Join(b.folder, fmt.Sprintf("fleet-%d", column)), pick(b, 10_000, 100)
	interval := pick(b, scrapeInterval, time.Second)
	if err := writeFleet(folder, pages.Listener.Addr(), vms, interval); err != nil {
		return err
	}
	address, err := testkit.Address()
	if err != nil {
		return err
	}
	process, err := testkit.StartPrometheus(ctx, folder, address)
	if err != nil {
		return err
	}
	defer process.Kill()
	if err := pause(ctx, settledScrapes*interval); err != nil {
		return err
	}
	before, err := read(process.Pid())
	if err != nil {
		return err
	}
	for range measuredScrapes {
		if err := pause(ctx, interval); err != nil {
			return err
		}
		after, err := read(process.Pid())
		if err != nil {
			return err
		}
		t.add(column, "RssAnon", megabytes, after.anonymous)
		t.add(column, "CPU a scrape", micro, (after.cpu-before.cpu).Seconds()/float64(vms))
		live, err := liveHeap(ctx, "http://"+address)
		if err != nil {
			return err
		}
		t.add(column, "live heap", megabytes, live)
		if before, err = read(process.Pid()); err != nil { // without what the collection took
			return err
		}
	}
	for _, one := range [][2]string{{"targets that are up", "sum(up)"}, {"series", `count({__name__!=""})`}} {
		value, err := single(ctx, "http://"+address, one[1])
		if err != nil {
			return fmt.Errorf("%s: %w\n%s", one[0], err, process.LogTail())
		}
		t.add(column, one[0], count, value)
	}
	return nil
}

// liveHeap returns the bytes that are in use after a garbage collection, which the profile asks for.
func liveHeap(ctx context.Context, server string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	profile, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(profile), "\n# HeapAlloc = ")
	value, _, _ := strings.Cut(rest, "\n")
	if !found {
		return 0, errors.New("the profile has no HeapAlloc")
	}
	return strconv.ParseFloat(value, 64)
}

// writeFleet writes Prometheus' configuration and its targets, 100 on each node, with the labels that the PodMonitor gives them.
func writeFleet(folder string, pages net.Addr, vms int, interval time.Duration) error {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	fleet := make([]group, vms)
	for i := range fleet {
		name := fmt.Sprintf("vm-%d", i)
		fleet[i] = group{[]string{pages.String()}, map[string]string{
			"__metrics_path__": "/" + name, "namespace": fmt.Sprintf("team-%d", i%50), "name": name, "node": fmt.Sprintf("node-%d", i/100),
			"pod": "virt-launcher-" + name + "-abcde", "container": "hypervisor-exporter", "endpoint": "hv-metrics",
			"instance": fmt.Sprintf("10.0.%d.%d:9478", i/250, i%250),
		}}
	}
	targets, err := json.Marshal(fleet)
	if err != nil {
		return err
	}
	config := strings.NewReplacer("INTERVAL", interval.String(), "FOLDER", folder).Replace(`
global: {scrape_interval: INTERVAL, scrape_timeout: INTERVAL}
scrape_configs:
- job_name: hypervisor-exporter/hypervisor-exporter-vms
  file_sd_configs: [{files: [FOLDER/targets.json]}]
  metric_relabel_configs: [{action: labeldrop, regex: exported_.*}]
`)
	return errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "targets.json"), targets, 0o600),
		os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600))
}

// Poddiscovery is Prometheus' own discovery of Kubernetes pods for a Prometheus built without it, as Debian's is.
// It copies a configuration with kubernetes_sd_configs turned into file_sd_configs and keeps those files current.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"gopkg.in/yaml.v2"
)

func main() {
	in := flag.String("config", "", "Prometheus configuration with kubernetes_sd_configs")
	dir := flag.String("dir", "", "folder for prometheus.yml, which has none, and its target files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *in, *dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, in, dir string) error {
	content, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var config yaml.MapSlice
	if err := yaml.Unmarshal(content, &config); err != nil {
		return fmt.Errorf("read %s: %w", in, err)
	}
	var jobs []job
	for _, item := range config {
		if item.Key != "scrape_configs" {
			continue
		}
		for i, scrape := range item.Value.([]any) {
			found, err := divert(scrape.(yaml.MapSlice), filepath.Join(dir, fmt.Sprintf("targets-%d.json", i)))
			if err != nil {
				return err
			}
			jobs = append(jobs, found...)
		}
	}
	if len(jobs) == 0 {
		return errors.New("no kubernetes_sd_configs: nothing to discover")
	}
	if content, err = yaml.Marshal(config); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "prometheus.yml"), content); err != nil {
		return err
	}
	return discoverAll(ctx, jobs)
}

// job is one discovery and the file for what it finds.
type job struct {
	config *kubernetes.SDConfig
	file   string
}

// divert turns a scrape configuration's Kubernetes discovery into one by file.
func divert(scrape yaml.MapSlice, file string) ([]job, error) {
	for i, item := range scrape {
		if item.Key != "kubernetes_sd_configs" {
			continue
		}
		content, err := yaml.Marshal(item.Value)
		if err != nil {
			return nil, err
		}
		var configs []*kubernetes.SDConfig
		if err := yaml.UnmarshalStrict(content, &configs); err != nil {
			return nil, fmt.Errorf("read kubernetes_sd_configs: %w", err)
		}
		if len(configs) != 1 {
			return nil, fmt.Errorf("%d kubernetes_sd_configs in a job: the operator makes one", len(configs))
		}
		scrape[i] = yaml.MapItem{Key: "file_sd_configs", Value: []yaml.MapSlice{{{Key: "files", Value: []string{file}}}}}
		return []job{{configs[0], file}}, nil
	}
	return nil, nil
}

func discoverAll(ctx context.Context, jobs []job) error {
	registry := prometheus.NewRegistry()
	refresh := discovery.NewRefreshMetrics(registry)
	var running sync.WaitGroup
	failures := make(chan error, len(jobs))
	for _, one := range jobs {
		metrics := one.config.NewDiscovererMetrics(prometheus.NewRegistry(), refresh)
		found, err := kubernetes.New(slog.Default(), metrics, one.config)
		if err != nil {
			return fmt.Errorf("discover: %w", err)
		}
		updates := make(chan []*targetgroup.Group)
		running.Go(func() { found.Run(ctx, updates) })
		running.Go(func() { failures <- follow(ctx, updates, one.file) })
	}
	running.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// follow writes the file anew with each change.
func follow(ctx context.Context, updates <-chan []*targetgroup.Group, file string) error {
	groups := map[string]*targetgroup.Group{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case changed := <-updates:
			for _, group := range changed {
				groups[group.Source] = group
			}
		}
		content, err := json.Marshal(flat(groups))
		if err != nil {
			return err
		}
		if err := write(file, content); err != nil {
			return err
		}
	}
}

// flat gives each target a group of its own, since a file's group has labels but its targets are addresses only.
func flat(groups map[string]*targetgroup.Group) []map[string]any {
	list := []map[string]any{}
	for _, group := range groups {
		for _, target := range group.Targets {
			labels := model.LabelSet{}
			for name, value := range group.Labels.Merge(target) {
				if name != model.AddressLabel {
					labels[name] = value
				}
			}
			list = append(list, map[string]any{"targets": []string{string(target[model.AddressLabel])}, "labels": labels})
		}
	}
	return list
}

// write replaces the file at once: Prometheus reads it whenever it changes.
func write(file string, content []byte) error {
	next := file + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return err
	}
	return os.Rename(next, file)
}

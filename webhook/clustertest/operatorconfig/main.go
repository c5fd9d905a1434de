// Operatorconfig prints the Prometheus configuration that the Prometheus operator makes of PodMonitors.
// It is a module of its own, so that the operator's dependencies never become ours.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	var target monitoringv1.Prometheus
	fields := &target.Spec.CommonPrometheusFields
	api := &monitoringv1.APIServerConfig{
		Authorization: &monitoringv1.Authorization{},
		TLSConfig:     &monitoringv1.TLSConfig{},
	}
	flag.StringVar(&api.Host, "apiserver", "", "URL of the API server in which Prometheus discovers pods")
	flag.StringVar(&api.TLSConfig.CAFile, "ca-file", "", "the API server's authority")
	flag.StringVar(&api.Authorization.CredentialsFile, "token-file", "", "the token for the API server")
	flag.StringVar(&fields.Version, "version", "", "the version of Prometheus to make the configuration for")
	interval := flag.String("interval", "1s", "the global scrape interval")
	flag.Parse()
	fields.APIServerConfig = api
	fields.ScrapeInterval = monitoringv1.Duration(*interval)
	target.ObjectMeta = metav1.ObjectMeta{Namespace: "monitoring", Name: "test"}
	target.Spec.EvaluationInterval = fields.ScrapeInterval
	if err := run(&target, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(target *monitoringv1.Prometheus, in io.Reader, out io.Writer) error {
	monitors, err := read(in)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)) // it says there which fields a version does not know
	generator, err := prometheus.NewConfigGenerator(logger, target)
	if err != nil {
		return fmt.Errorf("make a configuration generator: %w", err)
	}
	store := assets.NewStoreBuilder(nil, nil) // the PodMonitors name no Secret
	config, err := generator.GenerateServerConfiguration(target, nil, monitors, nil, nil, store, nil, nil, nil, nil)
	if err != nil {
		return fmt.Errorf("generate the configuration: %w", err)
	}
	_, err = out.Write(config)
	return err
}

func read(in io.Reader) (map[string]*monitoringv1.PodMonitor, error) {
	monitors := map[string]*monitoringv1.PodMonitor{}
	decoder := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := decoder.Read()
		if errors.Is(err, io.EOF) {
			return monitors, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read PodMonitors: %w", err)
		}
		monitor := &monitoringv1.PodMonitor{}
		if err := yaml.UnmarshalStrict(document, monitor); err != nil {
			return nil, fmt.Errorf("decode a PodMonitor: %w", err)
		}
		monitors[monitor.Namespace+"/"+monitor.Name] = monitor
	}
}

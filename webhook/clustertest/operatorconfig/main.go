// Operatorconfig prints the Prometheus configuration that the Prometheus operator makes of PodMonitors and the Secrets
// and ConfigMaps that they name: a Prometheus'; with the argument agent a PrometheusAgent's; with user-workloads that of a
// Prometheus like OpenShift's for user workloads.
// With ./selects, it is a module of its own, so that the operator's dependencies never become ours.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if err := run(os.Stdin, os.Stdout, append(os.Args, "")[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, kind string) error {
	monitors, named, err := read(in)
	if err != nil {
		return err
	}
	store := assets.NewTestStoreBuilder(named...)
	for _, monitor := range monitors {
		if err := refer(store, monitor); err != nil {
			return fmt.Errorf("%s/%s: %w", monitor.Namespace, monitor.Name, err)
		}
	}
	generate, known := map[string]generator{"": server, "agent": agent, "user-workloads": userWorkloads}[kind]
	if !known {
		return fmt.Errorf("%s: no such kind of Prometheus", kind)
	}
	config, err := generate(slog.New(slog.NewTextHandler(os.Stderr, nil)), monitors, store) // it logs which fields a version does not know
	if err != nil {
		return fmt.Errorf("generate the configuration: %w", err)
	}
	_, err = out.Write(config)
	return err
}

var meta = metav1.ObjectMeta{Namespace: "monitoring", Name: "test"}

type generator func(*slog.Logger, map[string]*monitoringv1.PodMonitor, *assets.StoreBuilder) ([]byte, error)

func server(logger *slog.Logger, monitors map[string]*monitoringv1.PodMonitor, store *assets.StoreBuilder) ([]byte, error) {
	return generateFor(logger, &monitoringv1.Prometheus{}, monitors, store)
}

// userWorkloads is as openshift/cluster-monitoring-operator has it (assets/prometheus-user-workload/prometheus.yaml).
func userWorkloads(logger *slog.Logger, monitors map[string]*monitoringv1.PodMonitor, store *assets.StoreBuilder) ([]byte, error) {
	target := &monitoringv1.Prometheus{}
	target.Spec.EnforcedNamespaceLabel = "namespace"
	target.Spec.IgnoreNamespaceSelectors, target.Spec.OverrideHonorLabels, target.Spec.OverrideHonorTimestamps = true, true, true
	target.Spec.ArbitraryFSAccessThroughSMs.Deny = true
	return generateFor(logger, target, monitors, store)
}

func generateFor(logger *slog.Logger, target *monitoringv1.Prometheus, monitors map[string]*monitoringv1.PodMonitor, store *assets.StoreBuilder) ([]byte, error) {
	target.ObjectMeta = meta
	target.Spec.ScrapeInterval, target.Spec.EvaluationInterval = "30s", "30s"
	generator, err := prometheus.NewConfigGenerator(logger, target)
	if err != nil {
		return nil, err
	}
	return generator.GenerateServerConfiguration(target, nil, monitors, nil, nil, store, nil, nil, nil, nil)
}

func agent(logger *slog.Logger, monitors map[string]*monitoringv1.PodMonitor, store *assets.StoreBuilder) ([]byte, error) {
	target := &monitoringv1alpha1.PrometheusAgent{ObjectMeta: meta}
	target.Spec.ScrapeInterval = "30s"
	generator, err := prometheus.NewConfigGenerator(logger, target)
	if err != nil {
		return nil, err
	}
	return generator.GenerateAgentConfiguration(nil, monitors, nil, nil, store, nil)
}

// refer looks up what the monitor names, as the operator does when it selects it.
func refer(store *assets.StoreBuilder, monitor *monitoringv1.PodMonitor) error {
	for _, endpoint := range monitor.Spec.PodMetricsEndpoints {
		if err := store.AddSafeTLSConfig(context.Background(), monitor.Namespace, endpoint.TLSConfig); err != nil {
			return err
		}
		if err := store.AddSafeAuthorizationCredentials(context.Background(), monitor.Namespace, endpoint.Authorization); err != nil {
			return err
		}
	}
	return nil
}

func read(in io.Reader) (map[string]*monitoringv1.PodMonitor, []any, error) {
	monitors, named := map[string]*monitoringv1.PodMonitor{}, []any{}
	decoder := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := decoder.Read()
		if errors.Is(err, io.EOF) {
			return monitors, named, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read PodMonitors and what they name: %w", err)
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return nil, nil, fmt.Errorf("decode an object: %w", err)
		}
		if object := nameable(kind.Kind); object != nil {
			if err := yaml.UnmarshalStrict(document, object); err != nil {
				return nil, nil, fmt.Errorf("decode a %s: %w", kind.Kind, err)
			}
			named = append(named, object)
			continue
		}
		monitor := &monitoringv1.PodMonitor{}
		if err := yaml.UnmarshalStrict(document, monitor); err != nil {
			return nil, nil, fmt.Errorf("decode a PodMonitor: %w", err)
		}
		monitors[monitor.Namespace+"/"+monitor.Name] = monitor
	}
}

// nameable is an empty object of a kind that a monitor may name, or nil.
func nameable(kind string) any {
	switch kind {
	case "Secret":
		return &corev1.Secret{}
	case "ConfigMap":
		return &corev1.ConfigMap{}
	default:
		return nil
	}
}

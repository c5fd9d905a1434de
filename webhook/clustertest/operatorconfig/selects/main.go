// Selects prints what the Prometheus operator makes of a PodMonitor and a PrometheusRule for each of many Prometheus objects: it
// reads one JSON document, and writes another. No cluster is asked.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/informers"
	"github.com/prometheus-operator/prometheus-operator/pkg/namespacelabeler"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	prompkg "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/yaml"
)

type question struct {
	Namespaces   []corev1.Namespace
	PodMonitor   monitoringv1.PodMonitor
	Rule         monitoringv1.PrometheusRule
	ConfigMaps   []corev1.ConfigMap
	Secrets      []corev1.Secret
	Prometheuses []monitoringv1.Prometheus
}

// answer is about one Prometheus. Config is the scrape configuration of the PodMonitor, if it is selected, and Rules the rules
// of the PrometheusRule.
type answer struct {
	Config map[string]any `json:"config,omitempty"`
	Rules  string         `json:"rules,omitempty"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var asked question
	if err := json.NewDecoder(in).Decode(&asked); err != nil {
		return fmt.Errorf("read the question: %w", err)
	}
	namespaces := cache.NewSharedIndexInformer(&cache.ListWatch{}, &corev1.Namespace{}, 0, cache.Indexers{})
	for i := range asked.Namespaces {
		if err := namespaces.GetStore().Add(&asked.Namespaces[i]); err != nil {
			return err
		}
	}
	answers := make([]answer, len(asked.Prometheuses))
	for i := range asked.Prometheuses {
		one, err := ask(&asked, &asked.Prometheuses[i], namespaces)
		if err != nil {
			return fmt.Errorf("Prometheus %d: %w", i, err)
		}
		answers[i] = one
	}
	return json.NewEncoder(out).Encode(answers)
}

func ask(asked *question, p *monitoringv1.Prometheus, namespaces cache.SharedIndexInformer) (answer, error) {
	var found answer
	quiet := slog.New(slog.DiscardHandler)
	var named []any
	for i := range asked.ConfigMaps {
		named = append(named, &asked.ConfigMaps[i])
	}
	for i := range asked.Secrets {
		named = append(named, &asked.Secrets[i])
	}
	store := assets.NewTestStoreBuilder(named...)
	metrics := operator.NewMetrics(prometheus.NewRegistry())
	selector, err := prompkg.NewResourceSelector(quiet, p, store, namespaces, metrics, &record.FakeRecorder{})
	if err != nil {
		return found, err
	}
	monitors, err := selector.SelectPodMonitors(context.Background(), func(namespace string, selected labels.Selector, use cache.AppendFunc) error {
		if namespace == asked.PodMonitor.Namespace && selected.Matches(labels.Set(asked.PodMonitor.Labels)) {
			use(&asked.PodMonitor)
		}
		return nil
	})
	if err != nil {
		return found, err
	}
	p.Spec.ScrapeInterval, p.Spec.EvaluationInterval = "30s", "30s"
	generator, err := prompkg.NewConfigGenerator(quiet, p)
	if err != nil {
		return found, err
	}
	config, err := generator.GenerateServerConfiguration(p, nil, monitors.ValidResources(), nil, nil, store, nil, nil, nil, nil)
	if err != nil {
		return found, err
	}
	var whole struct {
		Global        map[string]any   `json:"global"`
		ScrapeConfigs []map[string]any `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(config, &whole); err != nil {
		return found, err
	}
	if len(whole.ScrapeConfigs) > 0 {
		found.Config = whole.ScrapeConfigs[0]
		for name, value := range whole.Global { // what a scrape configuration does not set, it has from there
			if _, set := found.Config[name]; !set && strings.HasSuffix(name, "_limit") {
				found.Config[name] = value
			}
		}
	}
	found.Rules, err = rules(asked, p, namespaces, quiet)
	return found, err
}

// rules returns the rules of the PrometheusRule, if it is selected (pkg/prometheus/server/rules.go: createOrUpdateRuleConfigMaps).
func rules(asked *question, p *monitoringv1.Prometheus, namespaces cache.SharedIndexInformer, logger *slog.Logger) (string, error) {
	in := []string{p.Namespace}
	if p.Spec.RuleNamespaceSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(p.Spec.RuleNamespaceSelector)
		if err != nil {
			return "", err
		}
		if in, err = operator.ListMatchingNamespaces(selector, namespaces); err != nil {
			return "", err
		}
	}
	ruleInformer := cache.NewSharedIndexInformer(&cache.ListWatch{}, &monitoringv1.PrometheusRule{}, 0, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	if err := ruleInformer.GetIndexer().Add(asked.Rule.DeepCopy()); err != nil {
		return "", err
	}
	informer, err := informers.NewInformersForResource(one{ruleInformer}, monitoringv1.SchemeGroupVersion.WithResource(monitoringv1.PrometheusRuleName))
	if err != nil {
		return "", err
	}
	excluded := p.Spec.ExcludedFromEnforcement
	for _, rule := range p.Spec.PrometheusRulesExcludedFromEnforce {
		excluded = append(excluded, monitoringv1.ObjectReference{Namespace: rule.RuleNamespace, Resource: monitoringv1.PrometheusRuleName, Name: rule.RuleName})
	}
	labeler := namespacelabeler.New(p.Spec.EnforcedNamespaceLabel, excluded, true)
	selector, err := operator.NewPrometheusRuleSelector(operator.PrometheusFormat, operator.DefaultPrometheusVersion, p.Spec.RuleSelector, labeler, informer, &record.FakeRecorder{}, logger)
	if err != nil {
		return "", err
	}
	files, _, err := selector.Select(in)
	for _, content := range files {
		return content, err
	}
	return "", err
}

// one is the informer of all namespaces.
type one struct{ informer cache.SharedIndexInformer }

func (o one) Namespaces() sets.Set[string] { return sets.New(metav1.NamespaceAll) }

func (o one) ForResource(_ string, resource schema.GroupVersionResource) (informers.InformLister, error) {
	return lister{o.informer, cache.NewGenericLister(o.informer.GetIndexer(), resource.GroupResource())}, nil
}

type lister struct {
	informer cache.SharedIndexInformer
	generic  cache.GenericLister
}

func (l lister) Informer() cache.SharedIndexInformer { return l.informer }
func (l lister) Lister() cache.GenericLister         { return l.generic }

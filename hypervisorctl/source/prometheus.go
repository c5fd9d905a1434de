package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheusv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"kubevirt-hypervisor-exporter/hypervisorctl/product"
)

// Prometheus is the cheapest source: two queries answer for all VMIs. It needs the rights that Prometheus asks for and
// none in Kubernetes. What it knows is as old as the last scrape.
//
// A series counts for a VMI by its target labels alone, which Prometheus takes from the API server: job, namespace, pod,
// and name, the name of the pod's controller. Everything else on a series was written by the pod.
type Prometheus struct {
	infos, domains map[target][]labels
}

// target is what a pod is called in the target labels.
type target struct{ namespace, pod string }

type labels map[string]string

// NewPrometheus asks the Prometheus, Thanos or Mimir at the address for the VMIs of a namespace, or of all namespaces if
// it is empty. The round tripper carries credentials.
func NewPrometheus(ctx context.Context, address, namespace string, transport http.RoundTripper) (*Prometheus, error) {
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url %s: %w", address, err)
	}
	web := prometheusv1.NewAPI(client)
	infos, err := query(ctx, web, infoMetric, namespace)
	if err != nil {
		return nil, err
	}
	domains, err := query(ctx, web, domainMetric, namespace)
	if err != nil {
		return nil, err
	}
	return &Prometheus{infos: infos, domains: domains}, nil
}

func query(ctx context.Context, web prometheusv1.API, metric, namespace string) (map[target][]labels, error) {
	selector := fmt.Sprintf("%s{job=%q}", metric, product.VMsJob)
	if namespace != "" {
		selector = fmt.Sprintf("%s{job=%q,namespace=%q}", metric, product.VMsJob, namespace)
	}
	value, _, _, err := web.Query(ctx, selector, time.Time{}) // zero: now, by Prometheus' clock
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus for %s: %w", metric, err)
	}
	samples, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("ask Prometheus for %s: it answered with a %s, not a vector", metric, value.Type())
	}
	all := map[target][]labels{}
	for _, sample := range samples {
		one := labels{}
		for name, text := range sample.Metric {
			one[string(name)] = string(text)
		}
		key := target{one["namespace"], one["pod"]}
		all[key] = append(all[key], one)
	}
	return all, nil
}

// Name implements Source.
func (p *Prometheus) Name() string { return "prometheus" }

// Close implements Source.
func (p *Prometheus) Close() {}

// Find implements Source.
func (p *Prometheus) Find(_ context.Context, at Target) (Finding, error) {
	infos, err := only(p.infos, at)
	if err != nil {
		return Finding{}, err
	}
	domains, err := only(p.domains, at)
	if err != nil { // the type is known without it, too
		domains = nil
	}
	return agreed(infos, domains)
}

// only returns the series of the VMI's pod.
func only(series map[target][]labels, at Target) ([]labels, error) {
	var found []labels
	for _, one := range series[target{at.VMI.Namespace, at.Launcher.Name}] {
		if one["name"] != at.VMI.Name {
			return nil, fmt.Errorf("Prometheus calls the VMI of pod %s %s: its scrape configuration takes the name from an annotation that the VM's owner can write; apply the PodMonitor or the scrape configuration of this release", at.Launcher.Name, printable(one["name"]))
		}
		found = append(found, one)
	}
	if len(found) == 0 {
		return nil, ErrNoSeries
	}
	return found, nil
}

// agreed reads several series of one pod, as two Prometheus replicas behind one address have, if all say the same.
func agreed(infos, domains []labels) (Finding, error) {
	for _, one := range infos[1:] {
		if one["hypervisor_type"] != infos[0]["hypervisor_type"] {
			return Finding{}, errors.New("Prometheus has several series of the VMI's pod, with different types")
		}
	}
	var domain labels
	for i, one := range domains {
		if i > 0 && !sameDomain(one, domain) {
			return finding(infos[0], nil)
		}
		domain = one
	}
	return finding(infos[0], domain)
}

func sameDomain(a, b labels) bool {
	first, err := finding(labels{"hypervisor_type": "unknown"}, a)
	if err != nil {
		return false
	}
	second, err := finding(labels{"hypervisor_type": "unknown"}, b)
	return err == nil && first == second
}

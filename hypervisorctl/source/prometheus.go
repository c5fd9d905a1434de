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

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

// Prometheus is the cheapest source: two queries answer for all VMIs at once, with the rights that Prometheus asks for
// and none in Kubernetes. What it knows is as old as the last scrape.
type Prometheus struct {
	series map[vm.Key][]series
}

type series struct {
	node         string
	info, domain map[string]string
}

// NewPrometheus asks the Prometheus, Thanos or Mimir at the address for the VMIs of a namespace, or of all where it is
// empty. The round tripper carries credentials.
func NewPrometheus(ctx context.Context, address, namespace string, transport http.RoundTripper) (*Prometheus, error) {
	client, err := api.NewClient(api.Config{Address: address, RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url %s: %w", address, err)
	}
	web := prometheusv1.NewAPI(client)
	p := &Prometheus{series: map[vm.Key][]series{}}
	infos, err := vector(ctx, web, infoMetric, namespace)
	if err != nil {
		return nil, err
	}
	domains, err := vector(ctx, web, domainMetric, namespace)
	if err != nil {
		return nil, err
	}
	for _, labels := range infos {
		key := keyOf(labels)
		p.series[key] = append(p.series[key], series{node: labels["node"], info: labels, domain: same(domains, labels)})
	}
	return p, nil
}

func vector(ctx context.Context, web prometheusv1.API, metric, namespace string) ([]map[string]string, error) {
	query := metric
	if namespace != "" {
		query = fmt.Sprintf("%s{namespace=%q}", metric, namespace)
	}
	value, _, _, err := web.Query(ctx, query, time.Time{}) // zero: now, by Prometheus' clock
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus for %s: %w", metric, err)
	}
	samples, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("ask Prometheus for %s: it answered with a %s, not a vector", metric, value.Type())
	}
	var all []map[string]string
	for _, sample := range samples {
		labels := map[string]string{}
		for name, text := range sample.Metric {
			labels[string(name)] = string(text)
		}
		all = append(all, labels)
	}
	return all, nil
}

// same finds the domain's labels on the same VMI, node and pod.
func same(domains []map[string]string, info map[string]string) map[string]string {
	for _, domain := range domains {
		if keyOf(domain) == keyOf(info) && domain["node"] == info["node"] && domain["pod"] == info["pod"] {
			return domain
		}
	}
	return nil
}

func keyOf(labels map[string]string) vm.Key {
	return vm.Key{Namespace: labels["namespace"], Name: labels["name"]}
}

// Name implements Source.
func (p *Prometheus) Name() string { return "prometheus" }

// Close implements Source.
func (p *Prometheus) Close() {}

// Look implements Source. It takes the series of the node that KubeVirt says the VMI is on, since around a migration
// there may be two, and says nothing where there is none of that node: an old answer could be wrong.
func (p *Prometheus) Look(_ context.Context, target Target) (Finding, error) {
	var here []series
	for _, one := range p.series[target.VMI.Key()] {
		if one.node == target.VMI.Node {
			here = append(here, one)
		}
	}
	switch len(here) {
	case 0:
		return Finding{}, ErrNoSeries
	case 1:
		return finding(here[0].info, here[0].domain)
	default:
		return p.agreed(here)
	}
}

// agreed is for several series of one VMI on one node, as two Prometheus replicas behind one address give.
func (p *Prometheus) agreed(here []series) (Finding, error) {
	first, err := finding(here[0].info, here[0].domain)
	if err != nil {
		return Finding{}, err
	}
	for _, one := range here[1:] {
		if one.info["hypervisor_type"] != first.Type {
			return Finding{}, errors.New("it has several series of the VMI on its node, which do not agree")
		}
	}
	return first, nil
}

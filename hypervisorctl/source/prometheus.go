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

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// Prometheus is the cheapest source: two queries answer for all VMIs. It needs a right to query Prometheus and none in
// Kubernetes. Its answer is as old as the last scrape.
//
// A series counts for a VMI by its target labels alone, which Prometheus takes from the API server: job, namespace, pod,
// and name, the name of the pod's controller. Everything else on a series was written by the pod.
type Prometheus struct {
	infos, domains map[podName][]labels
}

// podName is a pod in the target labels.
type podName struct{ namespace, pod string }

type labels map[string]string

// NewPrometheus asks the Prometheus, Thanos or Mimir at the address for the VMIs of a namespace, or of all namespaces if
// it is empty. The client carries the credentials.
func NewPrometheus(ctx context.Context, address, namespace string, client *http.Client) (Source, error) {
	server, err := api.NewClient(api.Config{Address: address, Client: client})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url %s: %w", address, err)
	}
	web, found := prometheusv1.NewAPI(server), &Prometheus{}
	if found.infos, err = query(ctx, web, infoMetric, namespace); err != nil {
		return nil, err
	}
	if found.domains, err = query(ctx, web, domainMetric, namespace); err != nil {
		return nil, err
	}
	return found, nil
}

func query(ctx context.Context, web prometheusv1.API, metric, namespace string) (map[podName][]labels, error) {
	selector := fmt.Sprintf("%s{job=%q}", metric, cluster.VMsJob)
	if namespace != "" {
		selector = fmt.Sprintf("%s{job=%q,namespace=%q}", metric, cluster.VMsJob, namespace)
	}
	value, _, _, err := web.Query(ctx, selector, time.Time{}) // zero: now, by Prometheus' clock
	if err != nil {
		return nil, fmt.Errorf("query Prometheus for %s: %w", metric, err)
	}
	samples, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query Prometheus for %s: the answer is a %s, not a vector", metric, value.Type())
	}
	all := map[podName][]labels{}
	for _, sample := range samples {
		one := labels{}
		for name, text := range sample.Metric {
			one[string(name)] = string(text)
		}
		key := podName{one["namespace"], one["pod"]}
		all[key] = append(all[key], one)
	}
	return all, nil
}

// Name implements Source.
func (p *Prometheus) Name() string { return "prometheus" }

// Close implements Source.
func (p *Prometheus) Close() {}

// Find implements Source. A pod has several series if two Prometheus replicas answer at one address; they count if they
// agree.
func (p *Prometheus) Find(_ context.Context, at Target) (Finding, error) {
	infos, err := seriesAt(p.infos, at)
	if err != nil {
		return Finding{}, err
	}
	domains, err := seriesAt(p.domains, at)
	if err != nil {
		domains = []labels{nil} // the type is known without it
	}
	found, err := finding(infos[0], domains[0])
	for _, info := range infos {
		if info["hypervisor_type"] != infos[0]["hypervisor_type"] {
			return Finding{}, errors.New("Prometheus has several series of the VMI's pod, with different types")
		}
	}
	for _, domain := range domains {
		if other, _ := finding(infos[0], domain); other != found {
			return Finding{Type: found.Type}, err
		}
	}
	return found, err
}

// seriesAt returns the series of the VMI's pod, at least one.
func seriesAt(series map[podName][]labels, at Target) ([]labels, error) {
	found := series[podName{at.VMI.Namespace, at.Launcher.Name}]
	for _, one := range found {
		if one["name"] != at.VMI.Name {
			return nil, fmt.Errorf("Prometheus calls the VMI of pod %s %s: its scrape configuration takes the name from "+
				"an annotation that the VM's owner can write; apply the PodMonitor or the scrape configuration of this release",
				at.Launcher.Name, printable(one["name"]))
		}
	}
	if len(found) == 0 {
		return nil, ErrNoSeries
	}
	return found, nil
}

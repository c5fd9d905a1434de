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

// Prometheus is the cheapest source: a query for each metric answers for all VMIs. It needs a right to query Prometheus and
// none in Kubernetes. Its answer is as old as the last scrape.
//
// A series counts for a VMI by its target labels alone, which Prometheus takes from the API server: job, namespace, pod,
// and name, the name of the pod's controller. Everything else on a series was written by the pod. A node's series counts by
// job and node.
type Prometheus struct {
	// vms are the series of VMs by metric and pod, and nodes those of nodes by name.
	vms   map[string]map[podName][]series
	nodes map[string][]series
}

// podName is a pod in the target labels.
type podName struct{ namespace, pod string }

// NewPrometheus asks the Prometheus, Thanos or Mimir at the address for the VMIs of a namespace, or of all namespaces if
// it is empty. The client carries the credentials.
func NewPrometheus(ctx context.Context, address, namespace string, client *http.Client) (Source, error) {
	server, err := api.NewClient(api.Config{Address: address, Client: client})
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url %s: %w", address, err)
	}
	web, found := prometheusv1.NewAPI(server), &Prometheus{vms: map[string]map[podName][]series{}, nodes: map[string][]series{}}
	selector := fmt.Sprintf("{job=%q}", cluster.VMsJob)
	if namespace != "" {
		selector = fmt.Sprintf("{job=%q,namespace=%q}", cluster.VMsJob, namespace)
	}
	for _, metric := range vmMetrics() {
		all, err := query(ctx, web, metric+selector)
		if err != nil {
			return nil, err
		}
		found.vms[metric] = map[podName][]series{}
		for _, one := range all {
			pod := podName{one.labels["namespace"], one.labels["pod"]}
			found.vms[metric][pod] = append(found.vms[metric][pod], one)
		}
	}
	// A user who may see only the series of a namespace gets an error or nothing: then nothing is known about nodes.
	nodes, _ := query(ctx, web, fmt.Sprintf("%s{job=%q}", nodeMetric, cluster.RelayJob))
	for _, one := range nodes {
		found.nodes[one.labels["node"]] = append(found.nodes[one.labels["node"]], one)
	}
	return found, nil
}

func query(ctx context.Context, web prometheusv1.API, text string) ([]series, error) {
	value, _, _, err := web.Query(ctx, text, time.Time{}) // zero: now, by Prometheus' clock
	if err != nil {
		return nil, fmt.Errorf("query Prometheus for %s: %w", text, err)
	}
	samples, ok := value.(model.Vector)
	if !ok {
		return nil, fmt.Errorf("query Prometheus for %s: the answer is a %s, not a vector", text, value.Type())
	}
	all := make([]series, len(samples))
	for i, sample := range samples {
		all[i] = series{labels{}, float64(sample.Value)}
		for name, text := range sample.Metric {
			all[i].labels[string(name)] = string(text)
		}
	}
	return all, nil
}

// Name implements Source.
func (p *Prometheus) Name() string { return "prometheus" }

// Close implements Source.
func (p *Prometheus) Close() {}

// Find implements Source. A pod has several series of a metric if two Prometheus replicas answer at one address; they count
// if they agree.
func (p *Prometheus) Find(_ context.Context, at Target) (Finding, error) {
	pod, found := podName{at.VMI.Namespace, at.Launcher.Name}, map[string]*series{}
	for _, metric := range vmMetrics() {
		all := p.vms[metric][pod]
		for _, one := range all {
			if one.labels["name"] != at.VMI.Name {
				return Finding{}, fmt.Errorf("Prometheus calls the VMI of pod %s %s: its scrape configuration takes the name from "+
					"an annotation that the VM's owner can write; apply the PodMonitor or the scrape configuration of this release",
					at.Launcher.Name, printable(one.labels["name"]))
			}
		}
		found[metric] = agreed(metric, all)
	}
	switch {
	case found[infoMetric] != nil:
	case len(p.vms[infoMetric][pod]) > 0:
		return Finding{}, errors.New("Prometheus has several series of the VMI's pod, with different types")
	default:
		return Finding{}, ErrNoSeries
	}
	f, err := finding(found)
	if nodes := p.nodes[at.Launcher.Node]; err == nil && len(nodes) > 0 {
		f.Node = nodeOf(&nodes[0])
		for i := range nodes {
			if nodeOf(&nodes[i]) != f.Node {
				f.Node = Node{}
			}
		}
	}
	return f, err
}

// agreed returns a series that stands for all of a pod; nil if there is none, or if they differ in a label of the metric.
func agreed(metric string, all []series) *series {
	for i := range all {
		for name := range patterns()[metric] {
			if all[i].labels[name] != all[0].labels[name] {
				return nil
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

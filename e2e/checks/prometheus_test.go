package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// series is one result of a query.
type series struct {
	Metric map[string]string
	Value  [2]any
}

// target is one of Prometheus' targets.
type target struct {
	ScrapeURL string            `json:"scrapeUrl"`
	Labels    map[string]string `json:"labels"`
	Health    string            `json:"health"`
	LastError string            `json:"lastError"`
}

func (w *world) prometheus(ctx context.Context, into any, path string, params ...string) error {
	request := w.CoreV1().RESTClient().Get().Namespace(cluster.Monitoring).Resource("pods").Name("prometheus-e2e-0:9090").SubResource("proxy").Suffix("api/v1/" + path)
	for i := 0; i < len(params); i += 2 {
		request = request.Param(params[i], params[i+1])
	}
	body, err := request.DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("ask Prometheus: %w", err)
	}
	return json.Unmarshal(body, &struct{ Data any }{into})
}

// query asks for the newest value of each series, without any that has ended.
func (w *world) query(ctx context.Context, promql string) ([]series, error) {
	var answer struct{ Result []series }
	return answer.Result, w.prometheus(ctx, &answer, "query", "query", promql)
}

// targets are the active targets of the VMs' PodMonitor.
func (w *world) targets(ctx context.Context) ([]target, error) {
	var answer struct{ ActiveTargets []target }
	if err := w.prometheus(ctx, &answer, "targets", "state", "active"); err != nil {
		return nil, err
	}
	var found []target
	for _, t := range answer.ActiveTargets {
		if t.Labels["job"] == "hypervisor-exporter/hypervisor-exporter-vms" {
			found = append(found, t)
		}
	}
	return found, nil
}

// infos are the series of the VM.
func (w *world) infos(ctx context.Context, v vm) ([]series, error) {
	return w.query(ctx, fmt.Sprintf(`kubevirt_vmi_hypervisor_info{namespace=%q,name=%q}`, v.namespace, v.name))
}

// info is the one series of the VM, an error unless there is exactly one.
func (w *world) info(ctx context.Context, v vm) (series, error) {
	found, err := w.infos(ctx, v)
	if err != nil {
		return series{}, err
	}
	if len(found) != 1 {
		return series{}, fmt.Errorf("%d series", len(found))
	}
	return found[0], nil
}

// sidecarMetric is the newest value of one of the sidecar's own metrics.
func (w *world) sidecarMetric(ctx context.Context, v vm, name string) (float64, error) {
	found, err := w.query(ctx, fmt.Sprintf(`%s{namespace=%q,name=%q}`, name, v.namespace, v.name))
	if err != nil {
		return 0, err
	}
	if len(found) != 1 {
		return 0, fmt.Errorf("%d series of %s", len(found), name)
	}
	return strconv.ParseFloat(found[0].Value[1].(string), 64)
}

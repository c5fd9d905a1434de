package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"kubevirt-hypervisor-exporter/e2e/node"
)

// Series is one series of a query's answer.
type Series struct {
	Metric map[string]string
	Value  [2]any   // time and value, of an instant
	Values [][2]any // the same, of a range
}

// AskPrometheus calls Prometheus' API through the API server and reads the answer's data. Params are names and values in
// turn.
func (c *Client) AskPrometheus(ctx context.Context, into any, path string, params ...string) error {
	request := c.CoreV1().RESTClient().Get().Namespace(Monitoring).Resource("pods").Name("prometheus-e2e-0:9090").SubResource("proxy").Suffix("api/v1/" + path)
	for i := 0; i < len(params); i += 2 {
		request = request.Param(params[i], params[i+1])
	}
	body, err := request.DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("ask Prometheus: %w", err)
	}
	return json.Unmarshal(body, &struct{ Data any }{into})
}

// Query returns a PromQL expression's value now.
func (c *Client) Query(ctx context.Context, promql string) ([]Series, error) {
	var answer struct{ Result []Series }
	return answer.Result, c.AskPrometheus(ctx, &answer, "query", "query", promql)
}

// Target is one of Prometheus' targets.
type Target struct {
	ScrapeURL string            `json:"scrapeUrl"`
	Labels    map[string]string `json:"labels"`
	Health    string            `json:"health"`
	LastError string            `json:"lastError"`
}

// Targets are the active targets of a job.
func (c *Client) Targets(ctx context.Context, job string) ([]Target, error) {
	var answer struct{ ActiveTargets []Target }
	if err := c.AskPrometheus(ctx, &answer, "targets", "state", "active"); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(answer.ActiveTargets, func(t Target) bool { return t.Labels["job"] != job }), nil
}

// Alert is one alert of Prometheus, which is pending or fires.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
}

// Alerts are those that are pending or fire now.
func (c *Client) Alerts(ctx context.Context) ([]Alert, error) {
	var answer struct{ Alerts []Alert }
	return answer.Alerts, c.AskPrometheus(ctx, &answer, "alerts")
}

// RuleGroup is a group of rules that Prometheus has loaded.
type RuleGroup struct {
	Name  string
	Rules []struct{ Name, Health, LastError string }
}

// RuleGroups are all that Prometheus has loaded.
func (c *Client) RuleGroups(ctx context.Context) ([]RuleGroup, error) {
	var answer struct{ Groups []RuleGroup }
	return answer.Groups, c.AskPrometheus(ctx, &answer, "rules")
}

// WaitScraped waits until Prometheus has targets of a job and all of them are up. The kubelet takes a while to show
// Prometheus what the operator wrote for it; the series up still has targets that have gone with their job.
func (c *Client) WaitScraped(ctx context.Context, job string) error {
	return node.Until(ctx, patience, "Prometheus to scrape "+job, func(ctx context.Context) error {
		targets, err := c.Targets(ctx, job)
		if err != nil {
			return err
		}
		if len(targets) == 0 {
			return errors.New("no target")
		}
		for _, t := range targets {
			if t.Health != "up" {
				return fmt.Errorf("%s is %s: %s", t.ScrapeURL, t.Health, t.LastError)
			}
		}
		return nil
	})
}

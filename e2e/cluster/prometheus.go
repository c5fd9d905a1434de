package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kubevirt-hypervisor-exporter/e2e/poll"
)

// Series is one series of a query's answer.
type Series struct {
	Metric map[string]string
	Value  [2]any   // time and value, of an instant
	Values [][2]any // the same, of a range
}

// AskPrometheus calls Prometheus' API by way of the API server and reads the answer's data. Params are names and values
// by turns.
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

// Query asks for a PromQL expression's value now.
func (c *Client) Query(ctx context.Context, promql string) ([]Series, error) {
	var answer struct{ Result []Series }
	return answer.Result, c.AskPrometheus(ctx, &answer, "query", "query", promql)
}

// WaitScraped waits until Prometheus has targets of a job and all of them are up. The kubelet takes up to a minute to
// show Prometheus what the operator wrote for it.
func (c *Client) WaitScraped(ctx context.Context, job string) error {
	return poll.Until(ctx, 4*time.Minute, "Prometheus to scrape "+job, func(ctx context.Context) error {
		found, err := c.Query(ctx, fmt.Sprintf("up{job=%q}", job))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return errors.New("no target")
		}
		for _, s := range found {
			if s.Value[1] != "1" {
				return fmt.Errorf("target %s is down", s.Metric["instance"])
			}
		}
		return nil
	})
}

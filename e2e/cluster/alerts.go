package cluster

import "context"

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

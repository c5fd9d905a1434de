package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
	"net/http"
	"net/url"
)

// largestAnswer is how much of an answer is read. The elements of its list are read one by one.
const largestAnswer = 64 << 20

// Server is what a Prometheus, a Thanos or a Mimir reports about itself. Its methods return ErrNoAPI if it does not report that.
type Server struct {
	base   *url.URL
	client *http.Client
}

// ErrNoAPI is for what a server has no API for: Thanos knows no targets.
var ErrNoAPI = errors.New("the server has no such API")

// NewServer returns the server at the address. The client carries the credentials.
func NewServer(address string, client *http.Client) (*Server, error) {
	base, err := url.Parse(address)
	if err == nil && base.Host == "" {
		err = errors.New("it has no host")
	}
	if err != nil {
		return nil, fmt.Errorf("--prometheus-url %s: %w", address, err)
	}
	return &Server{base.JoinPath("api", "v1"), client}, nil
}

// RuleGroup is a group of rules that is loaded.
type RuleGroup struct {
	Name  string
	Rules []Rule
}

// Rule is a rule that is loaded.
type Rule struct {
	// Type is recording or alerting.
	Name, Type string
	// Health is ok, err or, before its first evaluation, unknown; LastError is why it is err.
	Health, LastError string
}

// RuleGroups returns the groups of these names, of all files. A version that cannot select them sends all.
func (s *Server) RuleGroups(ctx context.Context, names []string) ([]RuleGroup, error) {
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	var found []RuleGroup
	err := each(ctx, s, "rules", url.Values{"rule_group[]": names, "exclude_alerts": {"true"}}, []string{"data", "groups"}, func(group RuleGroup) {
		if wanted[group.Name] {
			found = append(found, group)
		}
	})
	return found, err
}

// Failure is a target that does not answer.
type Failure struct{ URL, Error string }

// Failures returns the first target of each job that does not answer, of those to keep by their labels.
func (s *Server) Failures(ctx context.Context, keep func(labels map[string]string) bool) (map[string]Failure, error) {
	type target struct {
		Labels                       map[string]string
		ScrapeURL, LastError, Health string
	}
	found := map[string]Failure{}
	err := each(ctx, s, "targets", url.Values{"state": {"active"}}, []string{"data", "activeTargets"}, func(one target) {
		if _, known := found[one.Labels["job"]]; !known && one.Health == "down" && keep(one.Labels) {
			found[one.Labels["job"]] = Failure{one.ScrapeURL, one.LastError}
		}
	})
	return found, err
}

// Alertmanagers returns the URLs of those that it sends alerts to.
func (s *Server) Alertmanagers(ctx context.Context) ([]string, error) {
	var found []string
	err := each(ctx, s, "alertmanagers", nil, []string{"data", "activeAlertmanagers"}, func(one struct{ URL string }) { found = append(found, one.URL) })
	return found, err
}

// Sample is a series' labels and its value now.
type Sample struct {
	Labels map[string]string `json:"metric"`
	Value  [2]any            // the time, and the value as text
}

// Query returns the samples of an expression that is a vector.
func (s *Server) Query(ctx context.Context, expr string) ([]Sample, error) {
	var found []Sample
	err := each(ctx, s, "query", url.Values{"query": {expr}}, []string{"data", "result"}, func(one Sample) { found = append(found, one) })
	return found, err
}

// each asks the API, and calls use for each element of the list at a path in the answer.
func each[T any](ctx context.Context, s *Server, api string, form url.Values, path []string, use func(T)) error {
	address := s.base.JoinPath(api)
	address.RawQuery = form.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", s.base.JoinPath(api), err)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask Prometheus: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // nothing was written
	if response.StatusCode != http.StatusOK {
		return answered(response, api)
	}
	body := &io.LimitedReader{R: response.Body, N: largestAnswer}
	err = walk(json.NewDecoder(body), path, func(decoder *json.Decoder) error {
		var one T
		err := decoder.Decode(&one)
		if err == nil {
			use(one)
		}
		return err
	})
	if body.N <= 0 {
		return fmt.Errorf("the answer of %s has more than %d bytes", api, largestAnswer)
	}
	if err != nil {
		return fmt.Errorf("the answer of %s is not Prometheus': %w", api, err)
	}
	return nil
}

// answered returns the error of an answer that is not 200, with the server's own reason if it gives one.
func answered(response *http.Response, api string) error {
	var answer struct{ Error string }
	_ = json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer) // anything else has no reason
	switch {
	case response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusNotImplemented:
		return ErrNoAPI
	case answer.Error != "":
		return fmt.Errorf("Prometheus answers %s to %s: %s", response.Status, api, vm.Brief(answer.Error))
	default:
		return fmt.Errorf("Prometheus answers %s to %s", response.Status, api)
	}
}

// walk calls element at each element of the list that the path of keys leads to. A list that is null or missing has none.
func walk(decoder *json.Decoder, path []string, element func(*json.Decoder) error) error {
	open, err := decoder.Token()
	if err != nil || open == nil {
		return err
	}
	want := json.Delim('{')
	if len(path) == 0 {
		want = '['
	}
	if open != want {
		return fmt.Errorf("%v where there should be %v", open, want)
	}
	for decoder.More() {
		if len(path) == 0 {
			if err := element(decoder); err != nil {
				return err
			}
			continue
		}
		key, err := decoder.Token()
		if err != nil {
			return err
		}
		if key == path[0] {
			err = walk(decoder, path[1:], element)
		} else {
			err = decoder.Decode(new(json.RawMessage))
		}
		if err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

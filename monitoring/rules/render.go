package rules

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// PrometheusRules returns the YAML of one PrometheusRule for each component.
func PrometheusRules(components []Component) ([]byte, error) {
	var out bytes.Buffer
	for _, component := range components {
		content, err := encode(object(component))
		if err != nil {
			return nil, fmt.Errorf("write the PrometheusRule %s: %w", component.Object, err)
		}
		out.WriteString("---\n")
		out.Write(content)
	}
	return out.Bytes(), nil
}

// RulesFile returns the YAML of the components' groups, for rule_files of a Prometheus without the operator, and for the
// rulers of Thanos and Mimir.
func RulesFile(components []Component) ([]byte, error) {
	content, err := encode(groupsNode(groupsOf(components)))
	if err != nil {
		return nil, fmt.Errorf("write the rules file: %w", err)
	}
	return content, nil
}

func encode(node *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(node); err != nil {
		return nil, err
	}
	return out.Bytes(), encoder.Close()
}

func object(c Component) *yaml.Node {
	metadata := mapping("name", text(c.Object))
	if c.Namespace != "" {
		metadata.Content = append(metadata.Content, text("namespace"), text(c.Namespace))
	}
	metadata.Content = append(metadata.Content, text("labels"), mapping(
		"app.kubernetes.io/name", text("kubevirt-hypervisor-exporter"),
		"app.kubernetes.io/component", text(c.Name),
	))
	return mapping(
		"apiVersion", text("monitoring.coreos.com/v1"),
		"kind", text("PrometheusRule"),
		"metadata", metadata,
		"spec", groupsNode(c.Groups),
	)
}

func groupsNode(groups []Group) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, group := range groups {
		rules := &yaml.Node{Kind: yaml.SequenceNode}
		for _, recording := range group.Recordings {
			rules.Content = append(rules.Content, recordingNode(recording))
		}
		for _, alert := range group.Alerts {
			rules.Content = append(rules.Content, alertNode(alert))
		}
		node := mapping("name", text(group.Name))
		if group.Interval > 0 {
			node.Content = append(node.Content, text("interval"), text(promDuration(group.Interval)))
		}
		node.Content = append(node.Content, text("rules"), rules)
		list.Content = append(list.Content, node)
	}
	return mapping("groups", list)
}

func recordingNode(r Recording) *yaml.Node {
	node := mapping("record", text(r.Name), "expr", text(r.Expr))
	node.HeadComment = wrap(strings.TrimSpace(r.Meaning + " " + r.Why))
	return node
}

func alertNode(a Alert) *yaml.Node {
	node := mapping("alert", text(a.Name), "expr", text(a.Expr))
	if a.For > 0 {
		node.Content = append(node.Content, text("for"), text(promDuration(a.For)))
	}
	node.Content = append(node.Content,
		text("labels"), sorted(mapping("severity", text(string(a.Severity))), a.Labels),
		text("annotations"), sorted(mapping("summary", text(a.Summary), "description", text(a.Description)), a.Annotations),
	)
	node.HeadComment = wrap(a.Why)
	return node
}

// wrap breaks a comment into lines of at most 110 characters.
func wrap(comment string) string {
	const width = 110
	var lines []string
	for _, word := range strings.Fields(comment) {
		last := len(lines) - 1
		if last >= 0 && len(lines[last])+1+len(word) <= width {
			lines[last] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return strings.Join(lines, "\n")
}

// mapping returns a mapping of keys (strings) and values (nodes), given in turn.
func mapping(pairs ...any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		node.Content = append(node.Content, text(pairs[i].(string)), pairs[i+1].(*yaml.Node))
	}
	return node
}

// sorted appends more pairs to a mapping, by key.
func sorted(node *yaml.Node, more map[string]string) *yaml.Node {
	for _, key := range slices.Sorted(maps.Keys(more)) {
		node.Content = append(node.Content, text(key), text(more[key]))
	}
	return node
}

func text(value string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if strings.Contains(value, "\n") {
		node.Style = yaml.LiteralStyle
	}
	return node
}

// promDuration writes a duration as Prometheus does: 10m, not Go's 10m0s.
func promDuration(d time.Duration) string { return model.Duration(d).String() }

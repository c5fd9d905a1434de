//go:build mutants

// Nine minutes on two busy cores, six of CPU: go test -tags mutants -run TestEachBrokenRule -timeout 60m ./monitoring/rules

package rules

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// A mutant is a rule with one thing broken.
type mutant struct {
	what   string
	groups []Group // with the rule so broken
}

// TestEachBrokenRuleIsNoticed breaks each rule in each way in which it can be broken. One of its scenarios must fail, unless it
// is listed as equivalent: then none may.
func TestEachBrokenRuleIsNoticed(t *testing.T) {
	listed := equivalents()
	for _, rule := range ruleNames() {
		for _, mutant := range mutants(t, rule) {
			why := listed[rule+"/"+mutant.what]
			delete(listed, rule+"/"+mutant.what)
			t.Run(rule+"/"+mutant.what, func(t *testing.T) {
				t.Parallel()
				output, err := runPromtool(t, mutant.groups, rule, noticing(t, rule, mutant.what)...)
				if why != "" {
					require.NoError(t, err, "it is listed as equivalent (%s), but a scenario notices it: %s", why, output)
					return
				}
				require.Error(t, err, "no scenario notices it")
				require.Contains(t, output, "FAILED", "promtool could not even run it")
			})
		}
	}
	require.Empty(t, listed, "listed as equivalent, but no rule is broken so")
}

// noticing returns the tests that can notice the mutant: a rule that is not otherwise in a fleet is broken alone, too.
func noticing(t *testing.T, rule, what string) []testGroup {
	t.Helper()
	switch {
	case strings.HasSuffix(what, " without cluster"):
		return []testGroup{fleet(t, rule)}
	case slices.ContainsFunc(scenariosOf(rule), func(s scenario) bool { return s.beside != nil }):
		return append(alone(t, rule), fleet(t, rule))
	}
	return alone(t, rule)
}

// equivalents returns the mutants that mean the same as the rule, and why.
func equivalents() map[string]string {
	const rank = "any rank above every clock means the same"
	const bound = "no VM began in the first seconds of 1970"
	const unique = "a pod of a namespace has one node and one VM"
	const excluded = "the series that it is matched with, by this label too, exclude it"
	const bypassed = "HypervisorExporterWebhookBypassed"
	const down = "the pod that the alert is about is itself down on that node, and each page forges that it is"
	return map[string]string{
		Newest + "/02 * to +":                                             "1 more for each VM changes no order",
		Newest + "/02 on without node":                                    unique,
		Newest + "/02 on without name":                                    unique,
		Newest + "/09 * to +":                                             rank,
		Newest + "/10 1e+11 + 1":                                          rank,
		Newest + "/10 1e+11 - 1":                                          rank,
		Newest + "/13 no matcher vmi_pod":                                 "no pod has such a name",
		Newest + "/20 0 + 1":                                              bound,
		Newest + "/20 0 - 1":                                              bound,
		CrossArchitecture + "/10 0 - 1":                                   "-1 is no more 1 than 0 is",
		bypassed + "/11 no matcher job":                                   excluded,
		bypassed + "/12 no matcher job":                                   excluded,
		bypassed + "/12 no matcher name":                                  excluded,
		bypassed + "/13 no matcher job":                                   excluded,
		"HypervisorExporterTargetDown/17 no matcher job":                  down,
		"HypervisorExporterTargetDown/17 opposite matcher job":            down,
		"VirtualMachineWithoutKVMDevice/05 no matcher vmi_pod":            "no pod has such a name",
		"VirtualMachineHypervisorUnknown/03 no matcher hypervisor_type":   "a VM that is of another type now was so within 15 minutes",
		"HypervisorExporterCertificateExpiring/31 no matcher certificate": "a CA with less than 7 days has less than 20, and the alert has the same labels",
	}
}

func mutants(t *testing.T, rule string) []mutant {
	t.Helper()
	var all []mutant
	expr, wait := source(rule)
	for what, broken := range brokenExpressions(t, expr) {
		all = append(all, mutant{what, withRule(rule, broken, wait)})
	}
	if wait > 0 {
		step := max(time.Minute, interval(rule)) // less makes no difference
		all = append(all,
			mutant{"no for", withRule(rule, expr, 0)},
			mutant{"longer for", withRule(rule, expr, wait+step)},
			mutant{"shorter for", withRule(rule, expr, wait-step)})
	}
	slices.SortFunc(all, func(a, b mutant) int { return bytes.Compare([]byte(a.what), []byte(b.what)) })
	return all
}

// interval returns how often an alert is evaluated; 0 is Prometheus' own.
func interval(rule string) time.Duration {
	for _, group := range Groups() {
		if slices.ContainsFunc(group.Alerts, func(a Alert) bool { return a.Name == rule }) {
			return group.Interval
		}
	}
	return 0
}

// withRule returns all groups, one rule with another expression and duration.
func withRule(rule, expr string, wait time.Duration) []Group {
	groups := Groups()
	for _, group := range groups {
		for i := range group.Recordings {
			if group.Recordings[i].Name == rule {
				group.Recordings[i].Expr = expr
			}
		}
		for i := range group.Alerts {
			if group.Alerts[i].Name == rule {
				group.Alerts[i].Expr, group.Alerts[i].For = expr, wait
			}
		}
	}
	return groups
}

// brokenExpressions gives the expression with one thing changed at a time, by what was changed.
func brokenExpressions(t *testing.T, expr string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for place := 0; ; place++ {
		for way := 0; ; way++ {
			parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
			require.NoError(t, err)
			nodes := nodesOf(parsed)
			if place >= len(nodes) {
				return all
			}
			changes := changesOf(nodes[place])
			if way >= len(changes) {
				break
			}
			changes[way].apply()
			all[fmt.Sprintf("%02d %s", place, changes[way].what)] = parsed.String()
		}
	}
}

func nodesOf(expr parser.Expr) []parser.Node {
	var nodes []parser.Node
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if node != nil {
			nodes = append(nodes, node)
		}
		return nil
	})
	return nodes
}

type change struct {
	what  string
	apply func()
}

func changesOf(node parser.Node) []change {
	switch n := node.(type) {
	case *parser.BinaryExpr:
		return binaryChanges(n)
	case *parser.NumberLiteral:
		return []change{{fmt.Sprintf("%g + 1", n.Val), func() { n.Val++ }}, {fmt.Sprintf("%g - 1", n.Val), func() { n.Val-- }}}
	case *parser.AggregateExpr:
		return without("by", &n.Grouping)
	case *parser.VectorSelector:
		return selectorChanges(n)
	case *parser.MatrixSelector:
		return []change{{"half the range", func() { n.Range /= 2 }}, {"twice the range", func() { n.Range *= 2 }}}
	case *parser.SubqueryExpr:
		return []change{{"half the range", func() { n.Range /= 2 }}, {"twice the range", func() { n.Range *= 2 }}}
	}
	return nil
}

func binaryChanges(n *parser.BinaryExpr) []change {
	opposite := map[parser.ItemType]parser.ItemType{
		parser.EQLC: parser.NEQ, parser.LSS: parser.GTR, parser.GTR: parser.LSS, parser.GTE: parser.LTE,
		parser.LAND: parser.LUNLESS, parser.LUNLESS: parser.LAND, parser.DIV: parser.MUL, parser.SUB: parser.ADD, parser.MUL: parser.ADD,
	}
	var changes []change
	if other, ok := opposite[n.Op]; ok {
		changes = append(changes, change{n.Op.String() + " to " + other.String(), func() { n.Op = other }})
	}
	switch n.Op {
	case parser.LAND, parser.LUNLESS, parser.LOR:
		// "x and x" is x: the right side no longer counts.
		changes = append(changes, change{"no right side of " + n.Op.String(), func() {
			n.Op, n.RHS, n.VectorMatching = parser.LOR, n.LHS, &parser.VectorMatching{Card: parser.CardManyToMany}
		}})
	}
	if n.Op == parser.LOR {
		changes = append(changes, change{"no left side of or", func() {
			n.LHS, n.VectorMatching = n.RHS, &parser.VectorMatching{Card: parser.CardManyToMany}
		}})
	}
	if n.VectorMatching != nil && n.VectorMatching.On {
		changes = append(changes, without("on", &n.VectorMatching.MatchingLabels)...)
	}
	return changes
}

func selectorChanges(n *parser.VectorSelector) []change {
	var changes []change
	for i, matcher := range n.LabelMatchers {
		if matcher.Name == "__name__" {
			continue
		}
		changes = append(changes, change{"no matcher " + matcher.Name, func() { n.LabelMatchers = slices.Delete(n.LabelMatchers, i, i+1) }})
		changes = append(changes, change{"opposite matcher " + matcher.Name, func() { n.LabelMatchers[i] = opposite(matcher) }})
	}
	if n.OriginalOffset != 0 {
		changes = append(changes, change{"no offset", func() { n.OriginalOffset = 0 }},
			change{"offset + 1m", func() { n.OriginalOffset += time.Minute }})
	}
	return changes
}

func opposite(m *promlabels.Matcher) *promlabels.Matcher {
	inverse, err := m.Inverse()
	if err != nil {
		panic(err) // all types have one
	}
	return inverse
}

// without drops each one of the names.
func without(keyword string, names *[]string) []change {
	var changes []change
	for i, name := range *names {
		changes = append(changes, change{keyword + " without " + name, func() {
			*names = slices.Delete(slices.Clone(*names), i, i+1)
		}})
	}
	return changes
}

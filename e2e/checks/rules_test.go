package checks

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/node"
)

// Prometheus has loaded every rule of the product as the manifests have it, and can evaluate each.
func TestRules(t *testing.T) {
	f := connect(t)
	groups := f.productRules()
	require.NotEmpty(t, groups)
	groups = append(groups, shortened(groups)...)
	// Two groups are evaluated every five minutes, for the first time within as many.
	f.must(node.Until(f.ctx, 2*patience, "all rules to be loaded and evaluated", func(context.Context) error { return f.rulesLoaded(groups) }))
}

// rulesLoaded returns an error where one of the rules is missing, was not evaluated yet, or cannot be.
func (f *framework) rulesLoaded(groups []ruleGroup) error {
	loaded, err := f.RuleGroups(f.ctx)
	if err != nil {
		return err
	}
	for _, want := range groups {
		i := slices.IndexFunc(loaded, func(g cluster.RuleGroup) bool { return g.Name == want.Name })
		if i < 0 || len(loaded[i].Rules) != len(want.Rules) {
			return fmt.Errorf("group %s is not loaded, or is another", want.Name)
		}
		for k, found := range loaded[i].Rules {
			if found.Name != want.Rules[k].Record+want.Rules[k].Alert || found.Health != "ok" || found.LastError != "" {
				return fmt.Errorf("rule %s of %s is %s: %s", found.Name, want.Name, found.Health, found.LastError)
			}
		}
	}
	return nil
}

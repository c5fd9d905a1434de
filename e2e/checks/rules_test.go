package checks

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/e2e/cluster"
)

// Prometheus has loaded every rule of the product as the manifests have it, and can evaluate each. It comes before
// TestUninstall, which has the rules loaded anew.
func TestRules(t *testing.T) {
	w := connect(t)
	groups := productRules(t)
	require.NotEmpty(t, groups)
	groups = append(groups, shortened(groups)...)
	// One group is evaluated every five minutes, for the first time within as many.
	eventually(t, patience+time.Minute, "all rules to be loaded and evaluated", func(ctx context.Context) error {
		loaded, err := w.RuleGroups(ctx)
		if err != nil {
			return err
		}
		for _, group := range groups {
			if err := isLoaded(loaded, group); err != nil {
				return err
			}
		}
		return nil
	})
}

// isLoaded is an error where one of the group's rules is missing, was not evaluated yet, or cannot be.
func isLoaded(loaded []cluster.RuleGroup, want ruleGroup) error {
	i := slices.IndexFunc(loaded, func(g cluster.RuleGroup) bool { return g.Name == want.Name })
	if i < 0 || len(loaded[i].Rules) != len(want.Rules) {
		return fmt.Errorf("group %s is not loaded, or is another", want.Name)
	}
	for k, found := range loaded[i].Rules {
		if found.Name != want.Rules[k].Record+want.Rules[k].Alert || found.Health != "ok" || found.LastError != "" {
			return fmt.Errorf("rule %s of %s is %s: %s", found.Name, want.Name, found.Health, found.LastError)
		}
	}
	return nil
}

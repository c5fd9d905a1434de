package check

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/survey"
)

// denial is a check that was not made for lack of a right.
type denial struct{ what, right string }

// denialOf names the right; empty if the error is another.
func denialOf(err error) denial {
	var missing *cluster.AccessError
	if errors.As(err, &missing) {
		return denial{right: missing.Right()}
	}
	return denial{}
}

// rightsHint grants the rights of all checks but the dry run.
const rightsHint = "an administrator runs: kubectl hypervisor rbac --user NAME | kubectl apply -f -"

// dryRunHint grants that one, in a namespace: RBAC has no right to a dry run alone.
const dryRunHint = "; and: kubectl create rolebinding hypervisorctl-dry-run --clusterrole hypervisorctl-dry-run --user NAME"

// shellWord is a user name that needs no quotes in a command line.
var shellWord = regexp.MustCompile(`^[A-Za-z0-9_.:@/-]+$`)

// rightsLines returns one line for all rights that are missing, with the checks that need each.
func rightsLines(denials []denial, user string) []Line {
	if len(denials) == 0 {
		return nil
	}
	byRight := map[string][]string{}
	for _, one := range denials {
		if !slices.Contains(byRight[one.right], one.what) {
			byRight[one.right] = append(byRight[one.right], one.what)
		}
	}
	var rows []string
	hint := rightsHint
	for _, right := range slices.Sorted(maps.Keys(byRight)) {
		rows = append(rows, "kubectl auth can-i "+right+": "+strings.Join(byRight[right], ", "))
		if where, dryRun := strings.CutPrefix(right, "create pods"); dryRun && hint == rightsHint { // once; the rows have the others
			hint += dryRunHint + where
		}
	}
	if shellWord.MatchString(user) {
		hint = strings.ReplaceAll(hint, "NAME", user)
	}
	line := warn(hint, "you may not do what %s: %s", survey.Count(len(denials), "check needs", "checks need"),
		survey.Count(len(rows), "right is missing", "rights are missing")).about(rows)
	line.rows = true
	return []Line{line}
}

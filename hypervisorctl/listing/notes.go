package listing

import (
	"cmp"
	"fmt"
	"slices"
)

// mostNotes is how many are printed; -o yaml has the reason of each row.
const mostNotes = 5

// Notes say why the types of VMs were not found out, in sentences that do not fit into a column: one for each reason, the
// most frequent first.
func Notes(list *List) []string {
	counts := map[string]int{}
	for _, row := range list.Items {
		if row.Reason == notFoundOut {
			counts[row.ReasonText]++
		}
	}
	var reasons []string
	for reason := range counts {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	var notes []string
	for i, reason := range reasons {
		if i == mostNotes {
			return append(notes, fmt.Sprintf("and %d more reasons: -o yaml shows each VM's", len(reasons)-i))
		}
		who := "1 VM"
		if counts[reason] > 1 {
			who = fmt.Sprintf("%d VMs", counts[reason])
		}
		notes = append(notes, fmt.Sprintf("the type of %s was not found out: %s", who, reason))
	}
	return notes
}

package listing

import (
	"cmp"
	"fmt"
	"slices"
)

// mostNotes is how many are told; whoever has more reasons than that looks at each row's own, in -o yaml.
const mostNotes = 5

// Notes say why the types of VMs were not found out, for which a column has no room: a sentence for each reason with how
// many VMs it holds for, the most frequent first.
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
			return append(notes, fmt.Sprintf("and %d reasons more: -o yaml has each VM's", len(reasons)-i))
		}
		who := "1 VM"
		if counts[reason] > 1 {
			who = fmt.Sprintf("%d VMs", counts[reason])
		}
		notes = append(notes, fmt.Sprintf("the type of %s was not found out: %s", who, reason))
	}
	return notes
}

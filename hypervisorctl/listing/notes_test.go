package listing

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNotes(t *testing.T) {
	require.Empty(t, Notes(&List{Items: []Row{{Type: "kvm"}, {Reason: "opted_out", ReasonText: "the VM opted out"}}}), "the column says it")

	rows := []Row{{Reason: notFoundOut, ReasonText: "relay: b"}, {Reason: notFoundOut, ReasonText: "relay: a"}, {Reason: notFoundOut, ReasonText: "relay: b"}}
	require.Equal(t, []string{
		"the type of 2 VMs was not found out: relay: b", "the type of 1 VM was not found out: relay: a",
	}, Notes(&List{Items: rows}))

	for i := range mostNotes {
		rows = append(rows, Row{Reason: notFoundOut, ReasonText: fmt.Sprintf("relay: c%d", i)})
	}
	notes := Notes(&List{Items: rows})
	require.Len(t, notes, mostNotes+1)
	require.Equal(t, "and 2 more reasons: -o yaml shows each VM's", notes[mostNotes])
}

package command

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNotes(t *testing.T) {
	require.Empty(t, notes(&List{Items: []Row{{Type: "kvm"}, {Reason: "opted_out", ReasonText: "the VM opted out"}}}), "the column has the reason")

	rows := []Row{{Reason: notFoundOut, ReasonText: "relay: b"}, {Reason: notFoundOut, ReasonText: "relay: a"}, {Reason: notFoundOut, ReasonText: "relay: b"}}
	require.Equal(t, []string{
		"the type of 2 VMs is not known: relay: b", "the type of 1 VM is not known: relay: a",
	}, notes(&List{Items: rows}))

	for i := range mostNotes {
		rows = append(rows, Row{Reason: notFoundOut, ReasonText: fmt.Sprintf("relay: c%d", i)})
	}
	found := notes(&List{Items: rows})
	require.Len(t, found, mostNotes+1)
	require.Equal(t, "and 2 more reasons: -o yaml shows each VM's", found[mostNotes])
}

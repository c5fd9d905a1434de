package hypervisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewIdentity(t *testing.T) {
	long := strings.Repeat("a", 253)
	for _, test := range []struct {
		name                 string
		namespace, vmi, node string
		wrong                []string
	}{
		{name: "usual", namespace: "shop", vmi: "web", node: "node-1.example.com"},
		{name: "longest", namespace: strings.Repeat("n", 63), vmi: long, node: long},
		{name: "a VMI's name may hold dots", namespace: "shop", vmi: "web.v2", node: "n"},
		{name: "nothing", wrong: []string{EnvNamespace, EnvName, EnvNode}},
		{name: "namespace too long", namespace: strings.Repeat("n", 64), vmi: "web", node: "n", wrong: []string{EnvNamespace}},
		{name: "namespace with a dot", namespace: "a.b", vmi: "web", node: "n", wrong: []string{EnvNamespace}},
		{name: "name too long", namespace: "shop", vmi: long + "a", node: "n", wrong: []string{EnvName}},
		{name: "name with a quote", namespace: "shop", vmi: `we"b`, node: "n", wrong: []string{EnvName}},
		{name: "capitals", namespace: "Shop", vmi: "Web", node: "N", wrong: []string{EnvNamespace, EnvName, EnvNode}},
		{name: "a line break", namespace: "shop", vmi: "web\n", node: "n", wrong: []string{EnvName}},
		{name: "no node", namespace: "shop", vmi: "web", wrong: []string{EnvNode}},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, err := NewIdentity(test.namespace, test.vmi, test.node)
			if len(test.wrong) == 0 {
				require.NoError(t, err)
				require.True(t, id.Valid())
				require.Equal(t, test.namespace+"_"+test.vmi, id.DomainName())
				return
			}
			require.False(t, id.Valid())
			for _, variable := range []string{EnvNamespace, EnvName, EnvNode} {
				if slices.Contains(test.wrong, variable) {
					require.ErrorContains(t, err, variable+" ")
				} else {
					require.NotContains(t, err.Error(), variable+" ")
				}
			}
		})
	}
}

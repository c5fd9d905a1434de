package check

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A hint that is about one namespace can be typed as it is.
func TestLabelHint(t *testing.T) {
	const hint = "kubectl label --overwrite namespace shop hypervisor-exporter.kubevirt.io/inject=enabled"
	wrong := &namespaces{misspelt: map[string]string{"shop": "value yes"}}
	require.Equal(t, hint, wrong.misspeltLines("")[0].Hint)
	wrong.misspelt["bank"] = "value on"
	require.Equal(t, hint, wrong.misspeltLines("shop")[0].Hint)
	all := wrong.misspeltLines("")[0]
	require.Contains(t, all.Hint, " NAMESPACE ")
	require.Equal(t, []string{"bank (value on)", "shop (value yes)"}, all.Objects)
}

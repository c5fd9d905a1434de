package inject_test

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// A quantity on the command line is refused before apimachinery reads it, which takes minutes for such exponents.
func TestSlowQuantityFlag(t *testing.T) {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	new(inject.Config).AddFlags(flags)
	for _, value := range []string{"1e-2147483647", "1e2147483647"} {
		require.ErrorContains(t, flags.Set("sidecar-memory", value), `quantity "`+value+`": give one such as 10m or 24Mi`)
	}
	require.NoError(t, flags.Set("sidecar-memory", "24Mi"))
}

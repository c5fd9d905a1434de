package inject_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestReasons(t *testing.T) {
	values, sentences := map[string]bool{}, map[string]bool{}
	snake := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for _, r := range inject.Reasons() {
		require.Regexp(t, snake, r.String())
		require.False(t, values[r.String()], "%s stands for two reasons", r)
		require.False(t, sentences[r.Sentence()], "%q stands for two reasons", r.Sentence())
		require.NotEqual(t, "unknown outcome", r.Sentence())
		values[r.String()], sentences[r.Sentence()] = true, true
	}
	require.Equal(t, "reason_99", inject.Reason(99).String())
}

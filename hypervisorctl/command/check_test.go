package command

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/hypervisorctl/check"
	"kubevirt-hypervisor-exporter/monitoring/rules"
)

// A command line that check does not understand is exit code 2, as its help says; 1 would mean that something was checked.
func TestCheckUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"check", "--nonsense"}, {"check", "shop"}, {"check", "-o", "wide"}, {"check", "-o"}, {"check", "--all=perhaps"}, {"check", "--wait=soon"},
		{"check", "--wait=0"}, {"check", "--wait=-1s"}, {"check", "--chunk-size=0"}, {"check", "--chunk-size=x"},
		{"check", "--kubeconfig=/nonexistent"},
	} {
		got := call(t, args...)
		require.Equal(t, 2, got.code, "%v: %s%s", args, got.out, got.err)
		require.Regexp(t, "^error: ", got.err, args)
		require.Empty(t, got.out, args)
	}
	require.Zero(t, call(t, "check", "--help").code)
	require.Equal(t, 1, call(t, "list", "--nonsense").code, "the other commands have 1")
}

func report(level check.Level) *check.Report { return check.NewReport([]check.Line{{Level: level}}) }

func TestUntilOK(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		// results of the attempts; the last one repeats.
		results []any
		want    any
		after   time.Duration
	}{
		"ok at once":             {[]any{check.OK}, check.OK, 0},
		"ok later":               {[]any{check.Fail, check.Warn, check.OK}, check.OK, 2 * waitStep},
		"ok after an error":      {[]any{broken, check.OK}, check.OK, waitStep},
		"never: the last result": {[]any{check.Fail, check.Warn}, check.Warn, 12 * time.Second},
		"never: the last error":  {[]any{check.Fail, broken}, broken, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, tries, waited := time.Now(), 0, 0
				got, err := untilOK(t.Context(), 12*time.Second, func() (*check.Report, error) {
					result := test.results[min(tries, len(test.results)-1)]
					tries++
					if err, failed := result.(error); failed {
						return nil, err
					}
					return report(result.(check.Level)), nil
				}, func(*check.Report, error) { waited++ })
				require.Equal(t, test.after, time.Since(start))
				require.LessOrEqual(t, tries, 4, "no busy loop")
				if want, failed := test.want.(error); failed {
					require.Equal(t, want, err)
					return
				}
				require.NoError(t, err)
				require.Equal(t, test.want, got.Result)
			})
		})
	}
}

func TestUntilOKEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		_, err := untilOK(ctx, time.Hour, func() (*check.Report, error) { return report(check.Fail), nil }, func(*check.Report, error) {})
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// The links of a release's plugin lead to the release's pages: the build sets this variable.
func TestReleaseSetsTheLinks(t *testing.T) {
	var docs *string = &rules.Docs
	require.NotEmpty(t, *docs)
	content, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	require.Contains(t, string(content), "$(DOCS:%=-X kubevirt-hypervisor-exporter/monitoring/rules.Docs=%)")
}

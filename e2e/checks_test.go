package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSummary(t *testing.T) {
	var s summary
	for _, output := range []string{
		"=== NAME  TestA\n    a_test.go:4",
		"2: \n        \tError Trace:\ta_te",
		"st.go:42\n        \tMessages:   \tnone\n    a_test.go:50: pod a: Running\n          | a line of its log\n--- PASS: TestB (1.00s)\n",
		"--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n",
	} {
		_, err := io.WriteString(&s, output)
		require.NoError(t, err)
	}
	require.Equal(t, "        \tError Trace:\ta_test.go:42\n        \tMessages:   \tnone\n--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n", s.failures.String())
}

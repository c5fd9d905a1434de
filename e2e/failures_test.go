package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFailures(t *testing.T) {
	var f failures
	for _, part := range []string{"=== RUN   TestA\n    a_test.go:4", "2: \n        \tError Trace:\ta_te", "st.go:42\n        \tMessages:   \tnone\n    a_test.go:50: pod a: Running\n          | a line of its log\n",
		"--- PASS: TestB (1.00s)\n", "--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n", "FAIL\n"} {
		_, err := f.Write([]byte(part))
		require.NoError(t, err)
	}
	require.Equal(t, "        \tError Trace:\ta_test.go:42\n        \tMessages:   \tnone\n--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n", f.picked.String())
	require.Equal(t, []string{"TestA"}, f.checks())
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFailures(t *testing.T) {
	var f failures
	say := func(output string) {
		_, err := f.Write([]byte(output))
		require.NoError(t, err)
	}
	_, beside := f.checks()
	require.False(t, beside, "none")
	say("=== PAUSE TestA\n=== PAUSE TestB\n=== NAME  TestA\n    a_test.go:4")
	say("2: \n        \tError Trace:\ta_te")
	say("st.go:42\n        \tMessages:   \tnone\n    a_test.go:50: pod a: Running\n          | a line of its log\n--- PASS: TestB (1.00s)\n")
	say("--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n")
	said := "        \tError Trace:\ta_test.go:42\n        \tMessages:   \tnone\n--- FAIL: TestA (1.00s)\n    --- FAIL: TestA/part (0.50s)\n"
	require.Equal(t, said, f.picked.String())
	names, beside := f.checks()
	require.Equal(t, []string{"TestA"}, names)
	require.True(t, beside)

	say("--- FAIL: TestC (2.00s)\n")
	names, beside = f.checks()
	require.Equal(t, []string{"TestA", "TestC"}, names)
	require.False(t, beside, "TestC ran by itself")
}

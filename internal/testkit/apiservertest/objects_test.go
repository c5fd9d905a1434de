package apiservertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestObjectsOfAStream(t *testing.T) {
	objects, err := Objects(strings.NewReader("---\nkind: A\n---\n\n---\nkind: B\n"))
	require.NoError(t, err)
	require.Len(t, objects, 2)
	_, err = Objects(strings.NewReader("kind: [A"))
	require.Error(t, err)
}

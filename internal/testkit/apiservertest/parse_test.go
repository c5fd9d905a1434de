package apiservertest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

func parse(t *testing.T, yaml string) *unstructured.Unstructured {
	t.Helper()
	objects, err := apiservertest.Objects(strings.NewReader(yaml))
	require.NoError(t, err)
	require.Len(t, objects, 1)
	return objects[0]
}

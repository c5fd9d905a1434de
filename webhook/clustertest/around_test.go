package clustertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// recipe is the line that docs/install.md asks for in a folder around the manifests.
func recipe(folder string) string {
	switch folder {
	case "overlays/direct":
		return "transformers: [MANIFESTS/settings/webhook]\n"
	case policyOverlay:
		return "transformers: [MANIFESTS/settings/admission-policy, MANIFESTS/settings/relay]\n"
	default:
		return "transformers: [MANIFESTS/settings/webhook, MANIFESTS/settings/relay]\n"
	}
}

// around renders a user's folder around one of the manifests'. MANIFESTS in the text becomes the path to them.
func around(t *testing.T, folder, text string) []*unstructured.Unstructured {
	t.Helper()
	dir := t.TempDir()
	absolute, err := filepath.Abs(manifests)
	require.NoError(t, err)
	to, err := filepath.Rel(dir, absolute)
	require.NoError(t, err)
	text = "resources: [" + filepath.Join("MANIFESTS", folder) + "]\n" + text
	writeFile(t, filepath.Join(dir, "kustomization.yaml"), strings.ReplaceAll(text, "MANIFESTS", to))
	return renderFolder(t, dir)
}

func copyManifests(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "manifests")
	require.NoError(t, os.CopyFS(dir, os.DirFS(manifests)))
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

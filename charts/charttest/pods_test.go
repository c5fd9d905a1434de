package charttest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// Helm 3 makes what Helm 4 makes.
func TestHelm3MakesTheSame(t *testing.T) {
	all := map[string][]string{"everything": everything}
	for _, installation := range installations {
		all[installation.folder] = installation.flags()
	}
	for name, flags := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := client3.template(t.Context(), flags...)
			require.NoError(t, err)
			got, err := apiservertest.Objects(strings.NewReader(text))
			require.NoError(t, err)
			require.Equal(t, byIdentity(t, render(t, flags...)), byIdentity(t, got))
		})
	}
}

// What the schema allows in extraArgs are flags of the program, and none that the chart sets itself.
func TestExtraArgsAreFlagsThatTheChartDoesNotSet(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, testkit.Build(t.Context(), folder, "./webhook", "./relay"))
	var output strings.Builder
	for _, flags := range [][]string{everything, {"--set=openshift=true"}} {
		text, err := client.template(t.Context(), flags...)
		require.NoError(t, err)
		output.WriteString(regexp.MustCompile(`"--log-format=logfmt"`).ReplaceAllString(text, ""))
	}
	for values, help := range map[string][]string{"webhook": {"webhook", "serve"}, "certificates": {"webhook", "certs"}, "relay": {"relay"}} {
		usage, err := exec.Command(filepath.Join(folder, help[0]), append(help[1:], "--help")...).CombinedOutput()
		require.NoError(t, err)
		allowed := allowedArgs(t, values)
		require.Contains(t, allowed, "log-format", values)
		for _, flag := range allowed {
			require.Contains(t, string(usage), " --"+flag+" ", values)
			require.NotContains(t, output.String(), "--"+flag+"=", values)
		}
	}
}

// allowedArgs are the flags in the schema's pattern for extraArgs.
func allowedArgs(t *testing.T, values string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	require.NoError(t, err)
	var schema struct {
		Properties map[string]struct {
			Properties map[string]struct {
				Items struct{ Pattern string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(content, &schema))
	pattern := schema.Properties[values].Properties["extraArgs"].Items.Pattern
	names, found := strings.CutPrefix(pattern, "^--(")
	require.True(t, found, pattern)
	names, found = strings.CutSuffix(names, ")=.+$")
	require.True(t, found, pattern)
	return strings.Split(names, "|")
}

// A relay never runs where none can, whatever the affinity: the terms are alternatives.
func TestEachTermOfTheRelaysAffinityExcludesVirtualNodes(t *testing.T) {
	for _, object := range render(t, everything...) {
		if object.GetKind() != "DaemonSet" {
			continue
		}
		terms, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "affinity", "nodeAffinity",
			"requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
		require.NoError(t, err)
		require.Len(t, terms, 2)
		for _, term := range terms {
			text, err := json.Marshal(term)
			require.NoError(t, err)
			for _, key := range []string{"kubernetes.io/arch", "eks.amazonaws.com/compute-type", "type", "liqo.io/type", "node-role.kubernetes.io/control-plane"} {
				require.Contains(t, string(text), `"key":"`+key+`"`)
			}
		}
	}
}

// Labels of one's own are on every object and pod, and in no selector.
func TestCommonLabels(t *testing.T) {
	const label = "--set=commonLabels.team=a"
	usual := byIdentity(t, render(t))
	for _, object := range render(t, label) {
		require.Equal(t, "a", object.GetLabels()["team"], object.GetName())
		labels := object.GetLabels()
		delete(labels, "team")
		object.SetLabels(labels)
		pod, found, err := unstructured.NestedStringMap(object.Object, "spec", "template", "metadata", "labels")
		require.NoError(t, err)
		if found {
			require.Equal(t, "a", pod["team"])
			unstructured.RemoveNestedField(object.Object, "spec", "template", "metadata", "labels", "team")
		}
		for identity, text := range byIdentity(t, []*unstructured.Unstructured{object}) {
			require.Equal(t, usual[identity], text, "nothing else differs")
		}
	}
}

package command

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// objects reads what rbac printed.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for _, document := range strings.Split(text, "\n---\n") {
		var object map[string]any
		require.NoError(t, yaml.UnmarshalStrict([]byte(document), &object), document)
		all = append(all, object)
	}
	return all
}

func TestRBAC(t *testing.T) {
	require.Equal(t, rbacYAML, rbac("hypervisor-exporter", "hypervisor-exporter-relay", ""), "the file, for the namespaces of the manifests")
	const hostile = "x\n---\nkind: ClusterRoleBinding: \"'"
	for name, test := range map[string]struct {
		exporter, relay, user string
		objects, subjects     int
	}{
		"other namespaces": {"mine", "theirs", "", 8, 3},
		"a user":           {"mine", "theirs", "alice", 8, 3},
		"a hostile name":   {"mine", "theirs", hostile, 8, 3},
		"no relay":         {"mine", "", "alice", 5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			all := objects(t, rbac(test.exporter, test.relay, test.user))
			require.Len(t, all, test.objects)
			subjects := 0
			for _, object := range all {
				metadata := object["metadata"].(map[string]any)
				require.Contains(t, []any{nil, test.exporter, test.relay}, metadata["namespace"])
				if object["subjects"] == nil {
					require.Regexp(t, `^hypervisorctl(-relay|-dry-run)?$`, metadata["name"])
					continue
				}
				subjects++
				subject := object["subjects"].([]any)[0].(map[string]any)
				if test.user == "" {
					require.Equal(t, []any{"Group", "hypervisorctl"}, []any{subject["kind"], subject["name"]})
					require.Equal(t, "hypervisorctl", metadata["name"])
				} else {
					require.Equal(t, []any{"User", test.user}, []any{subject["kind"], subject["name"]})
					require.Equal(t, "hypervisorctl-"+digest(test.user), metadata["name"], "other users keep their bindings")
				}
			}
			require.Equal(t, test.subjects, subjects)
		})
	}
	got := call(t, "rbac", "--exporter-namespace=a", "--relay-namespace=b", "--user=bob")
	require.Zero(t, got.code, got.err)
	require.Equal(t, rbac("a", "b", "bob"), got.out)
}

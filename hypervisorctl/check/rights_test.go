package check

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

func TestOneLineForAllRights(t *testing.T) {
	require.Empty(t, rightsLines(nil, "alice"))
	lines := rightsLines([]denial{
		{"KubeVirt", "list kubevirts.kubevirt.io -A"}, {"nodes", "get nodes/a"}, {"version of KubeVirt", "list kubevirts.kubevirt.io -A"},
		{"KubeVirt", "list kubevirts.kubevirt.io -A"}, {"dry run in b", "create pods -n b"}, {"dry run in c", "create pods -n c"},
	}, "alice")
	require.Len(t, lines, 1)
	require.Equal(t, Warn, lines[0].Level)
	require.Equal(t, "you may not do what 6 checks need: 4 rights are missing", lines[0].Text)
	require.Equal(t, []string{
		"kubectl auth can-i create pods -n b: dry run in b", "kubectl auth can-i create pods -n c: dry run in c",
		"kubectl auth can-i get nodes/a: nodes", "kubectl auth can-i list kubevirts.kubevirt.io -A: KubeVirt, version of KubeVirt",
	}, lines[0].Objects)
	require.Equal(t, "an administrator runs: kubectl hypervisor rbac --user alice | kubectl apply -f -; and: "+
		"kubectl create rolebinding hypervisorctl-dry-run --clusterrole hypervisorctl-dry-run --user alice -n b", lines[0].Hint)
	var out bytes.Buffer
	NewPrinter(terminal.NewWriter(&out), 1).Line(lines[0])
	require.Contains(t, out.String(), "\n        kubectl auth can-i list kubevirts.kubevirt.io -A: KubeVirt, version of KubeVirt\n", "each in a row, and all of them")
}

// A user name that a shell would read as more than a word is not part of a command.
func TestUserNamesInCommands(t *testing.T) {
	for name, want := range map[string]string{
		"alice@example.com": "alice@example.com", "system:serviceaccount:a:b": "system:serviceaccount:a:b", "": "NAME",
		"a b": "NAME", "$(reboot)": "NAME", "a;b": "NAME", "a\nb": "NAME",
	} {
		require.Contains(t, rightsLines([]denial{{"a", "b"}}, name)[0].Hint, "--user "+want+" |", name)
	}
}

// A missing right is no line of its own.
func TestDenialsAreCollected(t *testing.T) {
	r := &run{show: func(Line) { require.Fail(t, "shown") }}
	r.add("webhook", unread("a", &cluster.AccessError{}))
	require.Equal(t, []denial{{"a", ""}}, r.denials)
	require.Empty(t, r.lines)
	require.Nil(t, unread("a", apierrors.NewInternalError(errors.New("broken"))).denied)
}

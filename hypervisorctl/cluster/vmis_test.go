package cluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kubevirt-hypervisor-exporter/hypervisorctl/vm"
)

func TestParseVMIs(t *testing.T) {
	page, err := parseVMIs([]byte(`{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceList",
"metadata": {"continue": "next", "remainingItemCount": 7},
"items": [{"metadata": {"namespace": "shop", "name": "web", "uid": "a", "creationTimestamp": "2026-11-27T10:00:00Z",
  "labels": {"kubevirt.io/outdatedLauncherImage": ""}, "annotations": {"a": "b"}, "managedFields": [{"fieldsV1": {"f:spec": {}}}],
  "ownerReferences": [{"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "web", "uid": "o", "controller": true}]},
 "spec": {"architecture": "arm64", "Architecture": "in another case"},
 "status": {"phase": "Running", "nodeName": "node-1", "machine": {"type": "virt"}, "guestOSInfo": {"name": "Fedora"},
  "activePods": {"b": "node-2", "a": "node-1"}, "conditions": [
   {"type": "SoftwareEmulation", "status": "True"}, {"type": "HardwareEmulation", "status": "False"},
   {"type": "LiveMigratable", "status": "False", "reason": "DisksNotLiveMigratable"},
   {"type": "Paused", "status": "True", "reason": "PausedIOError"},
   {"type": "PodScheduled", "status": "False", "message": "no node"}, "nonsense", null]}}]}`))
	require.NoError(t, err)
	require.Equal(t, "next", page.Continue)
	require.EqualValues(t, 7, *page.RemainingItemCount)
	require.Len(t, page.Items, 1)
	got := vm.FromObject(&page.Items[0])
	require.Equal(t, "2026-11-27T10:00:00Z", got.Created.UTC().Format("2006-01-02T15:04:05Z07:00"))
	got.Created = metav1.Time{}
	require.Equal(t, vm.VMI{
		Namespace: "shop", Name: "web", UID: "a", Phase: "Running", Node: "node-1", Architecture: "arm64", Machine: "virt",
		ActivePods: []string{"a", "b"}, SoftwareEmulation: true, Owner: vm.Owner{Kind: "VirtualMachine", Name: "web"},
		Migratable: vm.MigratableNo, NotMigratable: "DisksNotLiveMigratable", Paused: "PausedIOError", Unschedulable: "no node",
		GuestOS: "Fedora", Outdated: true,
	}, got)
}

// A field in another form is empty, and neither the fields beside it nor the VMIs after it are lost.
func TestVMIInAnotherForm(t *testing.T) {
	for _, status := range []string{
		`5`, `null`, `"text"`, `[]`, `{"phase": 5}`, `{"phase": {}}`, `{"machine": []}`, `{"activePods": 1}`, `{"activePods": [1]}`,
		`{"conditions": 2}`, `{"conditions": {}}`, `{"conditions": [1, "a", [], {"type": 5}]}`, `{"guestOSInfo": "text"}`,
	} {
		page, err := parseVMIs(fmt.Appendf(nil, `{"kind": "VirtualMachineInstanceList", "items": [
{"status": %s, "spec": {"architecture": "amd64"}, "metadata": {"name": "web"}}, {"metadata": {"name": "db"}, "status": {"phase": "Running"}}]}`, status))
		require.NoError(t, err, status)
		require.Len(t, page.Items, 2)
		require.Equal(t, vm.VMI{Name: "web", Architecture: "amd64"}, vm.FromObject(&page.Items[0]), status)
		require.Equal(t, vm.VMI{Name: "db", Phase: vm.Running}, vm.FromObject(&page.Items[1]), status)
	}
}

// What is no list of VMIs is never taken for an empty one.
func TestNotVMIs(t *testing.T) {
	for _, content := range []string{
		``, `5`, `[]`, `null`, `{}`, `{"kind": "Status"}`, `{"kind": "PodList", "items": []}`, `{"kind": "VirtualMachineInstanceList", "items": 5}`,
		`{"kind": "VirtualMachineInstanceList", "items": [{"metadata"`, `<html>`,
	} {
		_, err := parseVMIs([]byte(content))
		require.Error(t, err, content)
	}
	page, err := parseVMIs([]byte(`{"kind": "VirtualMachineInstanceList", "metadata": {}, "items": []}`))
	require.NoError(t, err)
	require.Empty(t, page.Items)
}

// A list whose continuation expired, as etcd's compaction makes it, is listed again as a whole. A fake server: a real one
// keeps a continuation for five minutes.
func TestExpiredContinuation(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query()
		asked = append(asked, r.Header.Get("Accept")+" "+r.URL.Path+" "+query.Get("limit")+" "+query.Get("continue")+" "+query.Get("labelSelector"))
		switch {
		case query.Get("continue") != "":
			w.WriteHeader(http.StatusGone)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}`))
		case query.Get("limit") != "":
			_, _ = w.Write([]byte(`{"kind": "VirtualMachineInstanceList", "metadata": {"continue": "old"}, "items": [{"metadata": {"name": "a"}}]}`))
		default:
			_, _ = w.Write([]byte(`{"kind": "VirtualMachineInstanceList", "items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}`))
		}
	}))
	defer server.Close()
	c, err := New(&rest.Config{Host: server.URL}, 1)
	require.NoError(t, err)
	var names []string
	require.NoError(t, c.EachVMI(t.Context(), "shop", metav1.ListOptions{LabelSelector: "team=blue"}, func(vmi vm.VMI) { names = append(names, vmi.Name) }))
	require.Equal(t, []string{"a", "a", "b"}, names)
	const path = "application/json /apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances "
	require.Equal(t, []string{path + "1  team=blue", path + "1 old team=blue", path + "  team=blue"}, asked)
}

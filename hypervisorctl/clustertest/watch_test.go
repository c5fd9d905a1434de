package clustertest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"kubevirt-hypervisor-exporter/hypervisorctl/command"
)

// growing is output that is read while it is written.
type growing struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Write(p)
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.String()
}

func TestWatch(t *testing.T) {
	define(t)
	rights(t)
	for output, want := range map[string][4]string{
		"table": {"web ", " starting ", " running ", " deleted "},
		"json":  {`"name": "web"`, `"sidecar": "starting"`, `"name": "new",`, `"reason": "deleted"`},
	} {
		t.Run(output, func(t *testing.T) {
			namespace := server.Namespace(t, "watch", labelled())
			testVM{namespace: namespace, name: "web", fixture: "masq", node: "node-1"}.create(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var out, errOut growing
			done := make(chan int, 1)
			args := append([]string{"hypervisorctl", "--kubeconfig=" + administrator(t), "list", "-w", "-n", namespace, "--source=none", "-o", output}, reader()...)
			go func() {
				done <- command.Run(ctx, genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}, args)
			}()
			await := func(text string) {
				t.Helper()
				eventually(t, func() bool { return strings.Contains(out.String(), text) })
			}
			await(want[0])
			m := testVM{namespace: namespace, name: "new", fixture: "masq", node: "node-1", phase: "Scheduling", waiting: "PodInitializing"}
			pod := m.create(t)
			await(want[1])
			before := len(out.String())
			m.waiting = ""
			m.report(t, pod)
			eventually(t, func() bool { return len(out.String()) > before })
			await(want[2])
			gone := testVM{namespace: namespace, name: "web"}.object()
			require.NoError(t, server.Delete(t.Context(), gone))
			await(want[3])
			interrupt()
			require.Zero(t, <-done, errOut.String())
			if output == "table" {
				require.Equal(t, 1, strings.Count(out.String(), "NAME "), out.String())
			}
		})
	}
	t.Run("without the right", func(t *testing.T) {
		namespace := server.Namespace(t, "watch", labelled())
		require.NoError(t, grant(t, namespace, "lister", []string{"kubevirt.io", ""}, []string{"virtualmachineinstances", "pods"}, "list"))
		got := callAs(t, as("lister", "system:authenticated"), "list", "-w", "-n", namespace, "--source=none")
		require.Equal(t, 1, got.code)
		require.Contains(t, got.err, "you may not watch ")
	})
}

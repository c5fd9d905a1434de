package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestParameters: as the modules of Intel, AMD and s390x print them, and what cannot be read is absent.
func TestParameters(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"intel":        {map[string]string{"kvm_intel/parameters/ept": "Y\n", "kvm_intel/parameters/nested": "N\n"}, `hardware_paging="on",nested="off"`},
		"amd":          {map[string]string{"kvm_amd/parameters/npt": "N\n", "kvm_amd/parameters/nested": "1\n"}, `hardware_paging="off",nested="on"`},
		"old amd":      {map[string]string{"kvm_amd/parameters/npt": "1\n", "kvm_amd/parameters/nested": "0\n"}, `hardware_paging="on",nested="off"`},
		"s390x":        {map[string]string{"kvm/parameters/nested": "1\n"}, `hardware_paging="",nested="on"`},
		"no module":    {nil, `hardware_paging="",nested=""`},
		"another text": {map[string]string{"kvm_intel/parameters/ept": "Yes, of course\n", "kvm_intel/parameters/nested": "\n"}, `hardware_paging="",nested=""`},
	} {
		t.Run(name, func(t *testing.T) {
			requirePage(t, newCollector(os.DirFS(modules(t, c.files)), clues{arch: "amd64"}), c.want)
		})
	}
}

// TestReloadedModule: each scrape reads again, and what has become unreadable is absent.
func TestReloadedModule(t *testing.T) {
	root := modules(t, map[string]string{"kvm_intel/parameters/nested": "N\n"})
	c := newCollector(os.DirFS(root), clues{arch: "amd64"})
	requirePage(t, c, `hardware_paging="",nested="off"`)
	path := filepath.Join(root, "sys/module/kvm_intel/parameters/nested")
	require.NoError(t, os.WriteFile(path, []byte("Y\n"), 0o600))
	requirePage(t, c, `hardware_paging="",nested="on"`)
	c.nested = parameter{gone{}}
	requirePage(t, c, `hardware_paging="",nested=""`)
}

// gone answers as sysfs does once the module is unloaded.
type gone struct{}

func (gone) ReadAt([]byte, int64) (int, error) { return 0, unix.ENODEV }

func requirePage(t *testing.T, c *Collector, labels string) {
	t.Helper()
	require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader("# HELP "+metric+" "+help+"\n# TYPE "+metric+" gauge\n"+
		metric+"{"+labels+`,virtualization="none"} 1`+"\n")))
	problems, err := testutil.CollectAndLint(c)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// modules is a root with parameters of kernel modules.
func modules(t *testing.T, files map[string]string) string {
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, "sys/module", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return root
}

// TestDocumented: docs/metrics.md has the metric, its labels and their values.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	for _, name := range append([]string{metric, None, KVM, HyperV, VMware, Xen, Other, Unknown}, labels...) {
		require.Contains(t, string(page), "`"+name+"`")
	}
}

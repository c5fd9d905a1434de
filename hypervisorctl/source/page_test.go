package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

const info = `kubevirt_vmi_hypervisor_info{hypervisor_type="kvm",name="web",namespace="shop",node="node-1"} 1` + "\n"

func key() types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: "web"} }

// The sidecar's own pages, each of its states.
func TestParseSidecarPages(t *testing.T) {
	tests := map[string]Finding{
		"kvm":           {Type: "kvm", DomainType: "kvm", Arch: "x86_64", Machine: "pc-q35-7.2", HypervisorVersion: "7.2.22", LibvirtVersion: "9.0.0"},
		"qemu-tcg":      {Type: "qemu-tcg", DomainType: "qemu", Arch: "x86_64", Machine: "pc-q35-7.2", HypervisorVersion: "7.2.22", LibvirtVersion: "9.0.0"},
		"lost-for-long": {Type: "unknown"},
		"gone":          {},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			page, err := os.ReadFile(filepath.Join("../../sidecar/exposition/testdata", name+".txt"))
			require.NoError(t, err)
			got, err := Parse(page, key())
			if want.Type == "" {
				require.ErrorIs(t, err, ErrNoSeries)
				return
			}
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	tests := map[string]struct{ page, want string }{
		"another VM":      {strings.ReplaceAll(info, "web", "db"), "names another VM, shop/db"},
		"twice":           {info + strings.ReplaceAll(info, "node-1", "node-2"), "more than once"},
		"no such type":    {strings.ReplaceAll(info, `"kvm"`, `"xen"`), `hypervisor_type "xen"`},
		"nothing":         {"", "no series"},
		"no metrics":      {"<html>\x1b[2J", "read the sidecar's page"},
		"more than large": {strings.Repeat("#", largestPage+1), "more than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(test.page), key())
			require.ErrorContains(t, err, test.want)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(info))
	f.Fuzz(func(t *testing.T, page []byte) {
		finding, err := Parse(page, key())
		if err != nil {
			return
		}
		require.Contains(t, []string{"kvm", "qemu-tcg", "unknown"}, finding.Type)
		for _, text := range []string{finding.DomainType, finding.Arch, finding.Machine, finding.HypervisorVersion, finding.LibvirtVersion} {
			require.NotContains(t, text, "\x1b")
			require.NotContains(t, text, "\n")
			require.LessOrEqual(t, utf8.RuneCountInString(text), 64)
		}
	})
}

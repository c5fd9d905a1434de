package source

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

const info = `kubevirt_vmi_hypervisor_info{hypervisor_type="kvm",name="web",namespace="shop",node="node-1"} 1` + "\n"

func key() types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: "web"} }

// domainOf is what the sidecar's pages of the test say, with changes.
func domainOf(kind, domain string, change ...func(*Finding)) Finding {
	f := Finding{
		Type: kind, DomainType: domain, Arch: "x86_64", HostArch: "x86_64", Machine: "pc-q35-7.2", HypervisorVersion: "7.2.22", LibvirtVersion: "9.0.0",
		Hyperv: "none", LaunchSecurity: "none", Memory: "normal", DomainState: "running", StateReason: "booted",
	}
	for _, one := range change {
		one(&f)
	}
	return f
}

// The sidecar's own pages, each of its states.
func TestParseSidecarPages(t *testing.T) {
	idle := func(f *Finding) { f.ControlState = "ok" }
	tests := map[string]Finding{
		"kvm":      domainOf("kvm", "kvm", idle),
		"qemu-tcg": domainOf("qemu-tcg", "qemu"),
		"paused":   domainOf("kvm", "kvm", func(f *Finding) { f.DomainState, f.StateReason = "paused", "ioerror" }),
		"occupied": domainOf("kvm", "kvm", func(f *Finding) { f.ControlState, f.ControlSeconds = "occupied", 312 }),
		"facts": domainOf("kvm", "kvm", func(f *Finding) {
			f.CPUModel, f.Hyperv, f.LaunchSecurity, f.Memory, f.Disks, f.NICs = "Skylake-Server-IBRS", "partial", "none", "hugepages-2Mi", "emulated", "emulated"
		}),
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

// What a genuine page cannot have is not known: a value outside its label's list, a number that is none.
func TestParseBelieves(t *testing.T) {
	domain := `kubevirt_vmi_hypervisor_domain_info{name="web",namespace="shop",`
	state := `kubevirt_vmi_hypervisor_state_info{name="web",namespace="shop",`
	control := "# TYPE kubevirt_vmi_hypervisor_control_state_seconds gauge\n" +
		`kubevirt_vmi_hypervisor_control_state_seconds{name="web",namespace="shop",`
	tests := map[string]struct {
		more string
		want Finding
	}{
		"an earlier sidecar":      {domain + `domain_type="kvm",arch="x86_64"} 1`, Finding{Type: "kvm", DomainType: "kvm", Arch: "x86_64"}},
		"values outside the list": {domain + `domain_type="evil",arch="x86_64",disks="fast",machine="a b",cpu_model="\n",hypervisor_version="9"} 1`, Finding{Type: "kvm", Arch: "x86_64"}},
		"a state without reason":  {state + `state="paused"} 1`, Finding{Type: "kvm"}},
		"no such state":           {state + `state="broken",reason="ioerror"} 1`, Finding{Type: "kvm"}},
		"another VM's state":      {strings.ReplaceAll(state, "web", "db") + `state="paused",reason="ioerror"} 1`, Finding{Type: "kvm"}},
		"more than ten years":     {control + `control_state="job"} 1e12`, Finding{Type: "kvm"}},
		"fractions of a second":   {control + `control_state="job"} 61.7`, Finding{Type: "kvm", ControlState: "job", ControlSeconds: 61}},
		"no such control state":   {control + `control_state="broken"} 400`, Finding{Type: "kvm"}},
		"not a number":            {control + `control_state="occupied"} NaN`, Finding{Type: "kvm"}},
		"without end":             {control + `control_state="occupied"} +Inf`, Finding{Type: "kvm"}},
		"since next year":         {control + `control_state="occupied"} -1`, Finding{Type: "kvm"}},
		"since the stone age":     {control + `control_state="occupied"} 1e30`, Finding{Type: "kvm"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(info+test.more+"\n"), key())
			require.NoError(t, err)
			require.Equal(t, test.want, got)
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
	pages, err := filepath.Glob("../../sidecar/exposition/testdata/*.txt")
	require.NoError(f, err)
	for _, page := range pages {
		content, err := os.ReadFile(page)
		require.NoError(f, err)
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		finding, err := Parse(page, key())
		if err != nil {
			return
		}
		require.Contains(t, []string{"kvm", "qemu-tcg", "unknown"}, finding.Type)
		require.GreaterOrEqual(t, finding.ControlSeconds, 0)
		fields := reflect.ValueOf(finding)
		for i := range fields.NumField() {
			if text := fields.Field(i); text.Kind() == reflect.String {
				require.Regexp(t, `^[0-9A-Za-z._-]{0,64}$`, text.String())
			}
		}
	})
}

package hypervisor

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDetectGenuineDomains reads domain XML captured from KubeVirt.
func TestDetectGenuineDomains(t *testing.T) {
	paths, err := filepath.Glob("testdata/domains/*.xml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var got strings.Builder
	for _, path := range paths {
		detection, err := Detect(read(t, path))
		require.NoError(t, err, path)
		fmt.Fprintf(&got, "%s: %s %+v\n", filepath.Base(path), detection.Type, detection)
	}
	golden := "testdata/detections.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	require.Equal(t, read(t, golden), got.String())
}

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		name, xml string
		want      Detection
		err       error
	}{
		{name: "kvm", xml: `<domain type="kvm"/>`, want: Detection{Type: KVM, DomainType: "kvm"}},
		{name: "tcg", xml: `<domain type="qemu"/>`, want: Detection{Type: QEMUTCG, DomainType: "qemu"}},
		{name: "another accelerator", xml: `<domain type="hyperv"/>`, want: Detection{Type: Unknown, DomainType: "hyperv"}},
		{name: "case counts", xml: `<domain type="KVM"/>`, want: Detection{Type: Unknown, DomainType: "KVM"}},
		{
			name: "arch and machine",
			xml:  `<domain type="kvm"><os><type arch="s390x" machine="s390-ccw-virtio">hvm</type></os></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm", Arch: "s390x", Machine: "s390-ccw-virtio"},
		},
		{
			name: "KubeVirt's metadata",
			xml:  `<domain type="kvm"><metadata><a xmlns="b"><c/></a><kubevirt xmlns="http://kubevirt.io"><uid/></kubevirt></metadata></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm", KubeVirt: true},
		},
		{
			name: "KubeVirt's name in somebody else's metadata",
			xml:  `<domain type="kvm"><metadata><a xmlns="b"><kubevirt xmlns="http://kubevirt.io"/></a></metadata></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm"},
		},
		{
			name: "metadata that ends early",
			xml:  `<domain type="kvm"><metadata>kubevirt http://kubevirt.io</metadata></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm"},
		},
		{
			name: "a number that cannot be read, where it is of no interest",
			xml:  `<domain type="kvm"><vcpu current="many">1</vcpu></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm"},
		},
		{name: "no type", xml: `<domain/>`, err: ErrNoType},
		{name: "empty type", xml: `<domain type=""/>`, err: ErrNoType},
		{name: "nothing", xml: ``, err: ErrXML},
		{name: "cut off", xml: `<domain type="kvm"><os>`, err: ErrXML},
		{name: "not a domain", xml: `<network type="kvm"/>`, err: ErrXML},
		{name: "not UTF-8", xml: "<domain type=\"\xff\"/>", err: ErrXML},
		{name: "a type of kilobytes", xml: `<domain type="` + strings.Repeat("k", 4096) + `"/>`, err: ErrXML},
		{name: "nested without end", xml: `<domain type="kvm">` + strings.Repeat("<a>", 20_000), err: ErrXML},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Detect(test.xml)
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.want, got)
		})
	}
}

// FuzzDetect: whatever the XML, an answer is a type that the XML names or an
// error, and small enough for a label.
func FuzzDetect(f *testing.F) {
	paths, err := filepath.Glob("testdata/domains/*.xml")
	require.NoError(f, err)
	for _, path := range paths {
		f.Add(read(f, path))
	}
	f.Fuzz(func(t *testing.T, xml string) {
		got, err := Detect(xml)
		if err != nil {
			require.Zero(t, got)
			return
		}
		require.NotEmpty(t, got.DomainType)
		require.Equal(t, typeOf(got.DomainType), got.Type)
		require.LessOrEqual(t, max(len(got.DomainType), len(got.Arch), len(got.Machine)), maxNameLength)
	})
}

func read(t testing.TB, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

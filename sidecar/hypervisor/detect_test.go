package hypervisor

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestDetectGenuineDomains reads domain XML captured from KubeVirt.
func TestDetectGenuineDomains(t *testing.T) {
	paths, err := filepath.Glob("testdata/domains/*.xml")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	var got strings.Builder
	for _, path := range paths {
		detection, err := detect(strings.NewReader(read(t, path)))
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
			name: "KubeVirt's name in other metadata",
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
		{name: "nested without end", xml: `<domain type="kvm">` + strings.Repeat("<a>", 20_000), err: ErrTooLarge},
		{name: "a description without end", xml: `<domain type="kvm"><description>` + strings.Repeat("a", maxToken+1), err: ErrTooLarge},
		{name: "a machine's text without end", xml: `<domain type="kvm"><os><type>` + strings.Repeat("a", maxToken+1), err: ErrTooLarge},
		{name: "an attribute without end", xml: `<domain type="kvm" a="` + strings.Repeat("a", maxToken+1), err: ErrTooLarge},
		{
			name: "the longest text that is read",
			xml:  `<domain type="kvm"><description>` + strings.Repeat("a", maxToken-20) + `</description></domain>`,
			want: Detection{Type: KVM, DomainType: "kvm"},
		},
		{
			name: "what is looked for comes before what is too large",
			xml:  `<domain type="kvm"><metadata/><os><type arch="x86_64">hvm</type></os><devices a="` + strings.Repeat("a", maxToken+1),
			want: Detection{Type: KVM, DomainType: "kvm", Arch: "x86_64"},
		},
		{
			name: "a type of something else inside",
			xml:  `<domain type="qemu"><os><loader type="kvm"><type arch="a"/></loader><type arch="b">hvm</type></os><devices><disk type="kvm"/></devices></domain>`,
			want: Detection{Type: QEMUTCG, DomainType: "qemu", Arch: "b"},
		},
		{name: "before the domain", xml: `<?xml version="1.0"?><!-- a --><domain type="kvm"/>`, want: Detection{Type: KVM, DomainType: "kvm"}},
		{name: "an entity of one's own", xml: `<!DOCTYPE d [<!ENTITY a "kvm">]><domain type="&a;"/>`, err: ErrXML},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := detect(strings.NewReader(test.xml))
			got.Facts = Facts{} // see TestFacts
			require.ErrorIs(t, err, test.err)
			require.Equal(t, test.want, got)
		})
	}
}

// TestDetectInLittleMemory: XML of 1 MiB, or the 4 MiB that libvirt sends at most, needs less
// than 512 kB while it is read, whatever it is made of.
func TestDetectInLittleMemory(t *testing.T) {
	size := 1 << 20
	if testkit.Soak() {
		size = 4 << 20
	}
	const end = `</metadata><os><type arch="x86_64" machine="q35">hvm</type></os></domain>`
	for name, part := range map[string]string{
		"elements":   `<a b="c">d</a>`,
		"comments":   `<!-- a -->`,
		"namespaces": `<a xmlns="b" xmlns:c="d"/>`,
		"long texts": `<a>` + strings.Repeat("b", maxToken/2) + `</a>`,
		"attributes": `<a` + strings.Repeat(` b="c"`, 1000) + `/>`,
	} {
		t.Run(name, func(t *testing.T) {
			begin := `<domain type="kvm"><metadata>`
			text := begin + strings.Repeat(part, (size-len(begin)-len(end))/len(part)) + end
			r := &metered{from: strings.NewReader(text)}
			r.measure()
			got, err := detect(r)
			require.NoError(t, err)
			require.Equal(t, Detection{Type: KVM, DomainType: "kvm", Arch: "x86_64", Machine: "q35", Facts: emptyFacts()}, got)
			t.Logf("%d kB more on the heap", r.grown()>>10)
			require.Less(t, r.grown(), uint64(512<<10))
		})
	}
}

// metered is a reader that measures the live heap now and then while it is read.
type metered struct {
	from           io.Reader
	reads          int
	least, largest uint64
}

func (m *metered) Read(p []byte) (int, error) {
	if m.reads++; m.reads%16 == 0 {
		m.measure()
	}
	return m.from.Read(p)
}

func (m *metered) measure() {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if m.least == 0 {
		m.least = stats.HeapAlloc
	}
	m.largest = max(m.largest, stats.HeapAlloc)
}

func (m *metered) grown() uint64 { return m.largest - m.least }

// FuzzDetect: whatever the XML, an answer is a type that the XML names or an
// error, and small enough for a label.
func FuzzDetect(f *testing.F) {
	paths, err := filepath.Glob("testdata/domains/*.xml")
	require.NoError(f, err)
	for _, path := range paths {
		f.Add(read(f, path))
	}
	f.Fuzz(func(t *testing.T, xml string) {
		got, err := detect(strings.NewReader(xml))
		if err != nil {
			require.Zero(t, got)
			return
		}
		require.NotEmpty(t, got.DomainType)
		require.Equal(t, typeOf(got.DomainType), got.Type)
		require.LessOrEqual(t, max(len(got.DomainType), len(got.Arch), len(got.Machine)), maxNameLength)
		requireBounded(t, got.Facts)
	})
}

func read(t testing.TB, path string) string {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

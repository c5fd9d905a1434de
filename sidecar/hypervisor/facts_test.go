package hypervisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// describedAs is a domain with these elements behind its <os> and <metadata>.
func describedAs(elements string) string {
	return `<domain type="kvm"><metadata/><os><type arch="x86_64">hvm</type></os>` + elements + `</domain>`
}

func disk(kind, bus string) string {
	return `<disk type="file" device="` + kind + `"><source file="a"/><target dev="a" bus="` + bus + `"/></disk>`
}

func TestFacts(t *testing.T) {
	devices := func(inside ...string) string { return "<devices>" + strings.Join(inside, "") + "</devices>" }
	hyperv := func(names ...string) string {
		inside := ""
		for _, name := range names {
			inside += "<" + name + ` state="on"/>`
		}
		return "<features><acpi/><hyperv>" + inside + "</hyperv></features>"
	}
	for name, test := range map[string]struct {
		xml    string
		change func(*Facts)
	}{
		"nothing":           {"", func(*Facts) {}},
		"host-passthrough":  {`<cpu mode="host-passthrough" check="none" migratable="on"><topology sockets="1"/></cpu>`, func(f *Facts) { f.CPUModel = "host-passthrough" }},
		"maximum":           {`<cpu mode="maximum"/>`, func(f *Facts) { f.CPUModel = "maximum" }},
		"a model":           {`<cpu mode="custom"><model fallback="forbid">Skylake-Server-IBRS</model><feature policy="disable" name="mpx"/></cpu>`, func(f *Facts) { f.CPUModel = "Skylake-Server-IBRS" }},
		"a model, no mode":  {`<cpu><model>z14.5-base</model></cpu>`, func(f *Facts) { f.CPUModel = "z14.5-base" }},
		"host-model":        {`<cpu mode="host-model"><model fallback="allow"/></cpu>`, func(f *Facts) { f.CPUModel = "host-model" }},
		"a hostile model":   {"<cpu mode=\"custom\"><model>a\"} 1\nup 0</model></cpu>", func(*Facts) {}},
		"a long model":      {`<cpu mode="custom"><model>` + strings.Repeat("m", 65) + `</model></cpu>`, func(*Facts) {}},
		"a hostile mode":    {`<cpu mode="a b"/>`, func(*Facts) {}},
		"all for Windows":   {hyperv(enlightenments...), func(f *Facts) { f.Hyperv = full }},
		"evmcs beside them": {hyperv(append([]string{"evmcs"}, enlightenments...)...), func(f *Facts) { f.Hyperv = full }},
		"but one":           {hyperv(enlightenments[1:]...), func(f *Facts) { f.Hyperv = partial }},
		"one, twice":        {hyperv("relaxed", "relaxed"), func(f *Facts) { f.Hyperv = partial }},
		"evmcs alone":       {hyperv("evmcs"), func(*Facts) {}},
		"off":               {`<features><hyperv mode="custom"><relaxed state="off"/></hyperv></features>`, func(*Facts) {}},
		"hyperv of the CPU": {`<features><hyperv mode="passthrough"/></features>`, func(f *Facts) { f.Hyperv = passthrough }},
		"sev":               {`<launchSecurity type="sev"><policy>1</policy></launchSecurity>`, func(f *Facts) { f.LaunchSecurity = "sev" }},
		"sev-snp":           {`<launchSecurity type="sev-snp"/>`, func(f *Facts) { f.LaunchSecurity = "sev-snp" }},
		"tdx":               {`<launchSecurity type="tdx"/>`, func(f *Facts) { f.LaunchSecurity = "tdx" }},
		"s390-pv":           {`<launchSecurity type="s390-pv"/>`, func(f *Facts) { f.LaunchSecurity = "s390-pv" }},
		"a new one":         {`<launchSecurity type="cca"/>`, func(f *Facts) { f.LaunchSecurity = "other" }},
		"huge pages":        {`<memoryBacking><hugepages/></memoryBacking>`, func(f *Facts) { f.Memory = "hugepages" }},
		"2 MiB":             {`<memoryBacking><hugepages><page size="2048" unit="KiB"/></hugepages><locked/></memoryBacking>`, func(f *Facts) { f.Memory = "hugepages-2Mi" }},
		"1 GiB and 2 MiB":   {`<memoryBacking><hugepages><page size="2048" unit="KiB" nodeset="1"/><page size="1048576" unit="KiB"/></hugepages></memoryBacking>`, func(f *Facts) { f.Memory = "hugepages-1Gi" }},
		"a size of its own": {`<memoryBacking><hugepages><page size="3" unit="KiB"/></hugepages></memoryBacking>`, func(f *Facts) { f.Memory = "hugepages" }},
		"another unit":      {`<memoryBacking><hugepages><page size="2048" unit="B"/></hugepages></memoryBacking>`, func(f *Facts) { f.Memory = "hugepages" }},
		"shared memory":     {`<memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking>`, func(*Facts) {}},
		"virtio disks":      {devices(disk("disk", "virtio"), disk("disk", "virtio")), func(f *Facts) { f.Disks = virtio }},
		"one SATA disk":     {devices(disk("disk", "sata"), disk("disk", "virtio")), func(f *Facts) { f.Disks = emulated }},
		"virtio after SATA": {devices(disk("disk", "virtio"), disk("disk", "sata")), func(f *Facts) { f.Disks = emulated }},
		"a SATA CD":         {devices(disk("cdrom", "sata"), disk("disk", "virtio")), func(f *Facts) { f.Disks = virtio }},
		"a floppy":          {devices(disk("floppy", "fdc")), func(*Facts) {}},
		"virtio-scsi":       {devices(disk("lun", "scsi"), `<controller type="scsi" model="virtio-non-transitional"/>`), func(f *Facts) { f.Disks = virtio }},
		"lsilogic":          {devices(`<controller type="scsi" model="lsilogic"/>`, disk("disk", "scsi")), func(f *Facts) { f.Disks = emulated }},
		"both controllers":  {devices(`<controller type="scsi" model="lsilogic"/>`, disk("disk", "scsi"), `<controller type="scsi" model="virtio-scsi"/>`), func(f *Facts) { f.Disks = emulated }},
		"other controllers": {devices(`<controller type="usb" model="none"/>`, disk("disk", "scsi"), `<controller type="scsi" model="virtio-scsi"/>`), func(f *Facts) { f.Disks = virtio }},
		"a NIC of virtio":   {devices(`<interface type="ethernet"><target dev="tap0"/><model type="virtio-non-transitional"/></interface>`), func(f *Facts) { f.NICs = virtio }},
		"e1000e beside it":  {devices(`<interface type="ethernet"><model type="e1000e"/></interface>`, `<interface type="user"><model type="virtio"/></interface>`), func(f *Facts) { f.NICs = emulated }},
		"SR-IOV":            {devices(`<interface type="hostdev"><source/></interface>`), func(f *Facts) { f.NICs = passthrough }},
		"SR-IOV and virtio": {devices(`<interface type="hostdev"><source/></interface>`, `<interface type="user"><model type="virtio"/></interface>`), func(f *Facts) { f.NICs = virtio }},
		"no model":          {devices(`<interface type="user"/>`), func(f *Facts) { f.NICs = emulated }},
		"elsewhere":         {`<a><cpu mode="maximum"/><devices>` + disk("disk", "sata") + `</devices></a>`, func(*Facts) {}},
	} {
		t.Run(name, func(t *testing.T) {
			want := emptyFacts()
			test.change(&want)
			got, err := detect(strings.NewReader(describedAs(test.xml)))
			require.NoError(t, err)
			require.Equal(t, want, got.Facts)
		})
	}
}

// TestLaunchSecurityOfS390X: KubeVirt names no launch security there, so its absence tells nothing.
func TestLaunchSecurityOfS390X(t *testing.T) {
	for inside, want := range map[string]string{"": "", `<launchSecurity type="s390-pv"/>`: "s390-pv"} {
		got, err := detect(strings.NewReader(strings.Replace(describedAs(inside), "x86_64", "s390x", 1)))
		require.NoError(t, err)
		require.Equal(t, want, got.Facts.LaunchSecurity)
	}
}

// TestFactsOfBrokenXML: what is wrong behind <os> and <metadata> costs all facts, since a part of them would be wrong,
// but not the type.
func TestFactsOfBrokenXML(t *testing.T) {
	for name, text := range map[string]string{
		"cut off":   strings.TrimSuffix(describedAs(`<cpu mode="maximum"/>`), "</domain>"),
		"too large": describedAs(`<cpu mode="maximum"/><devices a="` + strings.Repeat("a", maxToken)),
		"too deep":  describedAs(strings.Repeat("<a>", maxDepth)),
	} {
		got, err := detect(strings.NewReader(text))
		require.NoError(t, err, name)
		require.Equal(t, Detection{Type: KVM, DomainType: "kvm", Arch: "x86_64"}, got, name)
	}
}

// TestBrokenBeforeMetadata: without <metadata>, it is not known whether the domain is KubeVirt's.
func TestBrokenBeforeMetadata(t *testing.T) {
	_, err := detect(strings.NewReader(`<domain type="kvm"><os><type arch="x86_64">hvm</type></os><devices>`))
	require.ErrorIs(t, err, ErrXML)
}

// requireBounded fails where a fact is none of its words.
func requireBounded(t *testing.T, f Facts) {
	t.Helper()
	require.Equal(t, f.CPUModel, modelName(f.CPUModel))
	for _, c := range []struct {
		value string
		words []string
	}{
		{f.Hyperv, HypervWords()}, {f.LaunchSecurity, LaunchSecurityWords()}, {f.Memory, MemoryWords()}, {f.Disks, DiskWords()}, {f.NICs, NICWords()},
	} {
		require.True(t, c.value == "" || slices.Contains(c.words, c.value), "%+v", f)
	}
}

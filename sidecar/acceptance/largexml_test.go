package acceptance

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
	"kubevirt-hypervisor-exporter/internal/testkit/memlimit"
)

// containerLimits are those that the webhook gives the sidecar's container.
var containerLimits = memlimit.Limits{Memory: 24 << 20, CPU: 0.1}

// largestXML is libvirt's longest string (REMOTE_STRING_MAX in remote_protocol.x).
const largestXML = 4 << 20

// limited makes a group with the container's limits. When the test ends, nothing in it
// may have been killed for lack of memory.
func limited(t *testing.T) *memlimit.Group {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can limit memory")
	}
	group, err := memlimit.New(memlimit.Mount, containerLimits)
	require.NoError(t, err)
	t.Cleanup(func() {
		used, err := group.Use()
		require.NoError(t, err)
		t.Logf("peak %.1f MiB of %d, the limit met %v times", used.Peak/(1<<20), containerLimits.Memory>>20, used.Failures)
		require.Zero(t, used.Kills, "killed for lack of memory")
		require.NoError(t, group.Remove())
	})
	return group
}

// TestLargeXML: of a VM whose XML is nearly as long as libvirt can send, the type is read
// in the container's memory, again and again, over one connection. Scrapes go on meanwhile.
func TestLargeXML(t *testing.T) {
	t.Parallel()
	group := limited(t)
	daemon := libvirttest.New(t)
	const own = 16 << 10 // more than libvirt writes beside our metadata
	vm, err := daemon.Run(t.Context(), libvirttest.Guest{
		Namespace: "default", Name: "vm", Metadata: `<o:our xmlns:o="http://example.com">` +
			strings.Repeat(`<o:disk name="disk">vda</o:disk>`, (largestXML-own)/40) + `</o:our>`,
	})
	require.NoError(t, err)
	xml, err := vm.XML(t.Context())
	require.NoError(t, err)
	t.Logf("%d bytes of XML", len(xml))
	require.Greater(t, len(xml), 3<<20)

	p := start(t, setup{socket: daemon.Socket(), group: group})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 50*time.Millisecond)
	begin := time.Now()
	for range 3 {
		detections := p.page(t).number(detectionsMetric)
		require.NoError(t, vm.Suspend(t.Context()))
		require.NoError(t, vm.Resume(t.Context()))
		p.awaitPage(t, func(found page) error {
			if found.number(detectionsMetric) <= detections {
				return fmt.Errorf("the type was not read again")
			}
			return nil
		})
	}
	w.awaitKinds(t, begin, "qemu-tcg")
	found := p.page(t)
	require.Equal(t, 1.0, found.number(connectsMetric))
	require.Zero(t, found.number(errorsMetric))
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
}

// TestLargestXML: XML of just the length that libvirt can send, whatever it is made of, is
// read in the container's memory or the VM is unknown for a reason that is counted; libvirt
// is not left for it.
func TestLargestXML(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	runVM(t, daemon)
	const head, tail = `<domain type="kvm"><metadata>`, `</metadata><os/></domain>`
	for _, c := range []struct{ name, filler, shows string }{
		{"elements", `<a b="c">d</a>`, "kvm"},
		{"one text", `a`, "unknown"},
		{"one tag", ``, "unknown"},
		{"tags of 200 kB", `<a b="` + strings.Repeat("c", 200<<10) + `"/>`, "kvm"},
		{"namespaces", `<a` + strings.Repeat(` xmlns:b=""`, 20_000) + `/>`, "kvm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			group := limited(t)
			xml := head + strings.Repeat(c.filler, max(1, (largestXML-len(head)-len(tail))/max(1, len(c.filler)))) + tail
			if c.filler == "" {
				xml = strings.Replace(xml, `"kvm"`, `"kvm" a="`+strings.Repeat("b", largestXML-len(xml)-5)+`"`, 1)
			}
			xml += strings.Repeat(" ", largestXML-len(xml))
			proxy := startProxy(t, daemon.Socket(), onReplace(procGetXMLDesc, func(f frame) frame {
				return newFrame(f.procedure(), kindReply, f.serial(), encodeString(xml))
			}))
			p := start(t, setup{socket: proxy.socket, group: group})
			p.await(t, c.shows)
			w := p.watch(t, 50*time.Millisecond)
			begin := time.Now()
			p.holds(t, c.shows, time.Second)
			w.awaitKinds(t, begin, c.shows)
			found := p.page(t)
			require.Equal(t, 1.0, found.number(connectsMetric))
			require.Equal(t, found.number(errorsMetric), found.number(errorsMetric, "reason", "too_large"))
			require.Equal(t, c.shows == "unknown", found.number(errorsMetric) > 0)
		})
	}
}

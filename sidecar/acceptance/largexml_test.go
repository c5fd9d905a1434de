package acceptance

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
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

// TestLargestXML: XML of just the length that libvirt can send, whatever it is made of, is read in the container's
// memory, again and again over one connection, or the VM is unknown for a reason that is shown. Scrapes go on meanwhile.
func TestLargestXML(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	vm := runVM(t, daemon)
	const head, tail = `<domain type="kvm"><metadata>`, `</metadata><os/></domain>`
	cases := []struct{ name, filler, shows string }{
		{"elements", `<a b="c">d</a>`, "kvm"},
		{"one text", `a`, "unknown"},
		{"one tag", ``, "unknown"},
		{"tags of 200 kB", `<a b="` + strings.Repeat("c", 200<<10) + `"/>`, "kvm"},
		{"namespaces", `<a` + strings.Repeat(` xmlns:b=""`, 20_000) + `/>`, "kvm"},
	}
	var sidecars []*sidecar
	reads := make([]atomic.Int64, len(cases))
	for i, c := range cases {
		xml := head + strings.Repeat(c.filler, max(1, (largestXML-len(head)-len(tail))/max(1, len(c.filler)))) + tail
		if c.filler == "" {
			xml = strings.Replace(xml, `"kvm"`, `"kvm" a="`+strings.Repeat("b", largestXML-len(xml)-5)+`"`, 1)
		}
		xml += strings.Repeat(" ", largestXML-len(xml))
		proxy := startProxy(t, daemon.Socket(), func(f frame) frame {
			if f.kind() == kindReply && f.procedure() == procGetXMLDesc && f.program() == remoteProgram {
				reads[i].Add(1)
				return newFrame(f.procedure(), kindReply, f.serial(), encodeString(xml))
			}
			return f
		})
		// How long libvirt may take is in session.TestSessionSlowXML: here five of them share a busy machine.
		sidecars = append(sidecars, start(t, setup{socket: proxy.socket, group: limited(t), args: []string{"--libvirt-timeout=1m"}}))
	}
	var watchers []*watcher
	for i, p := range sidecars {
		p.await(t, cases[i].shows)
		watchers = append(watchers, p.watch(t))
	}
	begin := time.Now()
	for read := range 3 {
		for i := range sidecars {
			testkit.Eventually(t, func() error {
				if reads[i].Load() <= int64(read) {
					return fmt.Errorf("%s: the XML was not read again", cases[i].name)
				}
				return nil
			})
		}
		require.NoError(t, vm.Suspend(t.Context()))
		require.NoError(t, vm.Resume(t.Context()))
	}
	for i, p := range sidecars {
		watchers[i].awaitKinds(t, begin, cases[i].shows)
		found := p.page(t)
		require.Equal(t, 1.0, found.number(connectsMetric), cases[i].name)
		tooLarge := found.number(errorMetric, "error", "too_large")
		require.Equal(t, tooLarge, found.number(errorMetric), cases[i].name)
		require.Equal(t, cases[i].shows == "unknown", tooLarge > 0, cases[i].name)
	}
}

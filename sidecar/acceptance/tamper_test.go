package acceptance

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

// TestTamperedAnswers: between the sidecar and a real libvirtd with a running VM stands
// somebody who changes packets. The sidecar may show the VM or not, but nothing that is
// not so, and it neither breaks nor swells.
func TestTamperedAnswers(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	runVM(t, daemon)
	for _, c := range []struct {
		name   string
		answer func(*link, frame) []frame
		shows  []string // always one of these, and the first at some time
	}{
		{"replies twice", func(_ *link, f frame) []frame { return []frame{f, f} }, []string{absent}},
		{"replies that nobody asked for", func(_ *link, f frame) []frame {
			g := slices.Clone(f)
			binary.BigEndian.PutUint32(g[20:], f.serial()+1000)
			return []frame{g, f}
		}, []string{absent}},
		{"answers to another procedure", onReply(procGetXMLDesc, func(f frame) { binary.BigEndian.PutUint32(f[12:], procListDomains) }), []string{absent}},
		{"XML that claims 10 MiB", onReply(procGetXMLDesc, func(f frame) { binary.BigEndian.PutUint32(f[frameHeader:], 10<<20) }), []string{absent}},
		{"a name that claims 10 MiB", onReply(procListDomains, func(f frame) { binary.BigEndian.PutUint32(f[frameHeader+4:], 10<<20) }), []string{absent}},
		{"a list that claims a million domains", onReply(procListDomains, func(f frame) { binary.BigEndian.PutUint32(f[frameHeader:], 1<<20) }), []string{absent}},
		{"XML of garbage", onReply(procGetXMLDesc, func(f frame) { clear(f[frameHeader+4:]) }), []string{"unknown", absent}},
		{"events cut short", afterRegister(func(l *link) {
			_, _ = l.sidecar.Write(newFrame(procLifecycle, kindMessage, 0, words(0, 10<<20)))
		}), []string{absent, "qemu-tcg", "unknown"}},
		{"an unknown program", func(_ *link, f frame) []frame {
			g := slices.Clone(f)
			binary.BigEndian.PutUint32(g[4:], 0x12345678)
			return []frame{g}
		}, []string{absent}},
		{"XML without end", onReplace(procGetXMLDesc, func(f frame) frame {
			return newFrame(f.procedure(), kindReply, f.serial(), encodeString("<domain type='kvm'>"+string(bytes.Repeat([]byte("<a>"), 60_000))))
		}), []string{"unknown", absent}},
		{"a type of a million letters", onReplace(procGetXMLDesc, func(f frame) frame {
			return newFrame(f.procedure(), kindReply, f.serial(), encodeString("<domain type='"+string(bytes.Repeat([]byte("k"), 200_000))+"'/>"))
		}), []string{"unknown", absent}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxy := startProxy(t, daemon.Socket(), c.answer)
			p := start(t, setup{socket: proxy.socket})
			w := p.watch(t, 20*time.Millisecond)
			before, begin := p.usage(t), time.Now()
			<-time.After(hostilities())
			testkit.Eventually(t, func() error {
				if !slices.Contains(w.kinds(begin), c.shows[0]) {
					return fmt.Errorf("%q was not shown", c.shows[0])
				}
				return nil
			})
			for _, kind := range w.kinds(begin) {
				require.Contains(t, c.shows, kind)
			}
			p.checkSound(t, before)
		})
	}
}

// TestEventFlood: events that come faster than they can be looked at cost neither the
// connection nor the truth, and are forgotten when they end.
func TestEventFlood(t *testing.T) {
	t.Parallel()
	daemon := libvirtd(t)
	vm, err := daemon.Create(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	proxy := startProxy(t, daemon.Socket(), afterRegister(func(l *link) {
		many := bytes.Repeat(lifecycleEvent(0), 10)
		for end := time.Now().Add(hostilities()); time.Now().Before(end); {
			if _, err := l.sidecar.Write(many); err != nil {
				return
			}
		}
	}))
	p := start(t, setup{socket: proxy.socket})
	p.await(t, "qemu-tcg")
	w := p.watch(t, 20*time.Millisecond)
	before, begin := p.usage(t), time.Now()
	<-time.After(hostilities())
	w.awaitKinds(t, begin, "qemu-tcg")
	p.checkSound(t, before)
	looks := 0
	for _, call := range proxy.calls(begin) {
		if call.procedure() == procListDomains {
			looks++
		}
	}
	t.Logf("%d looks at libvirt in %v", looks, hostilities())
	require.LessOrEqual(t, looks, int(hostilities()/(20*time.Millisecond))+10, "at most fifty a second")
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	require.Equal(t, 1.0, p.page(t).number(connectsMetric))
}

// onReply changes a copy of the reply to a procedure.
func onReply(procedure uint32, change func(frame)) func(*link, frame) []frame {
	return onReplace(procedure, func(f frame) frame {
		f = slices.Clone(f)
		change(f)
		return f
	})
}

func onReplace(procedure uint32, replace func(frame) frame) func(*link, frame) []frame {
	return func(_ *link, f frame) []frame {
		if f.kind() == kindReply && f.procedure() == procedure && f.program() == remoteProgram {
			f = replace(f)
		}
		return []frame{f}
	}
}

// afterRegister acts on each connection once lifecycle events are on.
func afterRegister(act func(*link)) func(*link, frame) []frame {
	return func(l *link, f frame) []frame {
		if f.kind() != kindReply || f.procedure() != procRegister {
			return []frame{f}
		}
		_, _ = l.sidecar.Write(f)
		go act(l)
		return nil
	}
}

package acceptance

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/libvirttest"
)

const procControlInfo = 229

// reads are the procedures that the sidecar may call: none of them changes anything
// but the connection itself (libvirt src/remote/remote_protocol.x).
var reads = map[uint32]string{
	1: "CONNECT_OPEN", 2: "CONNECT_CLOSE", 4: "CONNECT_GET_VERSION", 14: "DOMAIN_GET_XML_DESC", 66: "AUTH_LIST",
	157: "CONNECT_GET_LIB_VERSION", 212: "DOMAIN_GET_STATE", procControlInfo: "DOMAIN_GET_CONTROL_INFO", 273: "CONNECT_LIST_ALL_DOMAINS",
	316: "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY",
}

// TestReadOnly: the sidecar opens its connection read-only, and libvirtd itself then
// refuses a write on that very connection. It makes one connection for its life.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	daemon := libvirttest.New(t)
	proxy := startProxy(t, daemon.Socket(), nil)
	p := start(t, setup{binary: raced, socket: proxy.socket})
	vm, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	p.await(t, "qemu-tcg")

	reply := proxy.call(t, procDomainDestroy, encodeDomain(t, daemon, vm.Name()))
	require.EqualValues(t, 1, reply.status(), "libvirtd must refuse")
	require.Contains(t, string(reply.payload()), "read only access prevents virDomainDestroy")
	p.holds(t, "qemu-tcg", 200*time.Millisecond)

	require.NoError(t, vm.Suspend(t.Context()))
	require.NoError(t, vm.Resume(t.Context()))
	require.NoError(t, vm.Destroy(t.Context()))
	p.await(t, absent)
	require.Equal(t, 1, proxy.connections())
	calls := proxy.calls(time.Time{})
	for _, call := range calls {
		require.Contains(t, reads, call.procedure())
		if call.procedure() == procConnectOpen {
			require.EqualValues(t, 1, binary.BigEndian.Uint32(call[len(call)-4:]), "the flags are VIR_CONNECT_RO")
		}
	}
}

// encodeDomain is remote_nonnull_domain: name, uuid, id.
func encodeDomain(t *testing.T, daemon *libvirttest.Daemon, name string) []byte {
	t.Helper()
	uuid, err := daemon.Virsh(t.Context(), "domuuid", name)
	require.NoError(t, err)
	raw, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(uuid), "-", ""))
	require.NoError(t, err)
	text, err := daemon.Virsh(t.Context(), "domid", name)
	require.NoError(t, err)
	id, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	require.NoError(t, err)
	return append(append(encodeString(name), raw...), words(uint32(id))...)
}

// encodeString is an XDR string.
func encodeString(s string) []byte {
	b := append(words(uint32(len(s))), s...)
	return append(b, make([]byte, -len(s)&3)...)
}

// TestIdle: with a running VM and nothing happening, there is nothing on the wire but
// pings, and the question for the state of QEMU's monitor in the place of each fourth, however often the sidecar is
// scraped.
func TestIdle(t *testing.T) {
	t.Parallel()
	// Pings are 15 s apart by default, and 2 s with this grace period.
	idle, ping, args := 8*time.Second, 2*time.Second, []string{"--libvirt-grace=4s"}
	if testkit.Soak() {
		idle, ping, args = time.Minute, 15*time.Second, nil
	}
	daemon := libvirttest.New(t)
	_, err := daemon.Run(t.Context(), libvirttest.Guest{Namespace: "default", Name: "vm"})
	require.NoError(t, err)
	proxy := startProxy(t, daemon.Socket(), nil)
	p := start(t, setup{socket: proxy.socket, args: args})
	p.await(t, "qemu-tcg")
	p.awaitPage(t, func(found page) error { // the last thing asked for
		labels, err := found.labels(domainMetric)
		if err == nil && labels["hypervisor_version"] == "" {
			err = errors.New("no hypervisor version yet")
		}
		return err
	})
	labels, err := p.page(t).labels(domainMetric)
	require.NoError(t, err)
	require.Equal(t, "qemu x86_64", labels["domain_type"]+" "+labels["arch"])
	// What follows a connection is over once nothing was asked for longer than the last
	// of its waits, 6.4 s.
	testkit.Eventually(t, func() error {
		for _, call := range proxy.calls(time.Now().Add(-8 * time.Second)) {
			if call.procedure() != procControlInfo {
				return fmt.Errorf("procedure %d in the last 8 s", call.procedure())
			}
		}
		return nil
	})
	w := p.watch(t)
	begin := time.Now()
	<-time.After(idle)
	require.NotEmpty(t, w.since(begin))
	packets, pings, questions := proxy.packets(begin), 0, 0
	for _, s := range packets {
		if s.frame.program() == keepaliveProgram {
			pings++
			continue
		}
		require.EqualValues(t, procControlInfo, s.frame.procedure())
		questions++
	}
	require.LessOrEqual(t, questions, pings/3+2, "one question for three pings, each with an answer")
	require.NotEmpty(t, packets, "an idle connection that is dead would not be noticed")
	require.LessOrEqual(t, len(packets), 2*int(idle/ping+1), "a ping and a pong each time")
	t.Logf("%d packets in %v, %d of them of keepalive", len(packets), idle, pings)
}

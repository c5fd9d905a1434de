package session

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadFrame(t *testing.T) {
	whole := packet(programRemote, procDomainGetState, typeReply, 7, statusOK, xdr{}.word(1).word(1))
	got, err := readFrame(bytes.NewReader(whole))
	require.NoError(t, err)
	require.Equal(t, whole, got)
	require.Equal(t, []any{uint32(programRemote), uint32(1), uint32(212), uint32(1), uint32(7), uint32(0)},
		[]any{got.program(), got.version(), got.procedure(), got.kind(), got.serial(), got.status()})

	for _, test := range []struct {
		name  string
		bytes []byte
		err   error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"length 0", xdr{}.word(0), errFrame},
		{"shorter than its header", xdr{}.word(headerSize - 1), errFrame},
		{"one byte too long", xdr{}.word(maxFrame + 1), errFrame},
		{"4 GiB", xdr{}.word(0xffffffff), errFrame},
		{"as long as only XML may be", append(xdr{}.word(maxFrame), whole[4:headerSize]...), errFrame},
		{"cut off", whole[:30], io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readFrame(bytes.NewReader(test.bytes))
			require.ErrorIs(t, err, test.err)
		})
	}
	allocations := testing.AllocsPerRun(10, func() {
		_, err = readFrame(bytes.NewReader(xdr{}.word(0xffffffff)))
	})
	require.Less(t, allocations, 10.0, "a length is judged before anything is allocated for it")
}

func TestJudge(t *testing.T) {
	under := calls{}
	for i, procedure := range allProcedures {
		under[uint32(i)] = procedure
	}
	reply := func(procedure uint32, payload []byte) frame {
		for serial, called := range under {
			if called == procedure {
				return packet(programRemote, procedure, typeReply, serial, statusOK, payload)
			}
		}
		panic("not called")
	}
	call := frame(reply(procDomainGetState, nil))
	for _, test := range []struct {
		name string
		f    frame
		want verdict
		err  error
	}{
		{"authentication", reply(procAuthList, xdr{}.word(2).word(0).word(1)), forward, nil},
		{"more methods than there are", reply(procAuthList, xdr{}.word(17)), forward, errShape},
		{"opened", reply(procConnectOpen, nil), forward, nil},
		{"opened, and more", reply(procConnectOpen, xdr{}.word(0)), forward, errShape},
		{"version", reply(procConnectGetVersion, xdr{}.hyper(1)), forward, nil},
		{"half a version", reply(procConnectGetVersion, xdr{}.word(1)), forward, errShape},
		{"no domains", reply(procConnectListAllDomains, xdr{}.word(0).word(0)), forward, nil},
		{"domains", reply(procConnectListAllDomains, xdr{}.word(2).domain("a").domain("bcdef").word(2)), forward, nil},
		{"domains that are not there", reply(procConnectListAllDomains, xdr{}.word(16).domain("a").word(2)), forward, errShape},
		{"a million domains", reply(procConnectListAllDomains, xdr{}.word(1_000_000)), forward, errShape},
		{"a name without end", reply(procConnectListAllDomains, xdr{}.word(1).domain(strings.Repeat("a", maxName+1)).word(1)), forward, errShape},
		{"XML that is held in memory", reply(procDomainGetXMLDesc, xdr{}.text("<domain/>")), refused, errFrame},
		{"no XML", refusal(frame(reply(procDomainGetXMLDesc, nil)), 42, "no domain"), refused, nil},
		{"an error", refusal(call, 42, "no domain"), forward, nil},
		{"an error that claims 4 GiB", packet(programRemote, call.procedure(), typeReply, call.serial(), statusError, xdr{}.word(1).word(1).word(1).word(0xffffffff)), forward, errShape},
		{"half an error", packet(programRemote, call.procedure(), typeReply, call.serial(), statusError, xdr{}.word(1)), forward, errShape},
		{"an unknown status", packet(programRemote, call.procedure(), typeReply, call.serial(), 2, nil), forward, errFrame},
		{"an answer to no call", packet(programRemote, procDomainGetState, typeReply, 99, statusOK, nil), forward, errFrame},
		{"an answer to another call", packet(programRemote, procConnectListAllDomains, typeReply, call.serial(), statusOK, nil), forward, errFrame},
		{"no XML, where something else was asked for", packet(programRemote, procDomainGetXMLDesc, typeReply, call.serial(), statusError, nil), refused, errFrame},
		{"an event", lifecycleEvent(eventSuspended), event, nil},
		{"half an event", packet(programRemote, procEventLifecycle, typeMessage, 0, 0, xdr{}.word(1)), event, errShape},
		{"another event", packet(programRemote, 317, typeMessage, 0, 0, nil), drop, nil},
		{"a message of QEMU's program", packet(0x20008087, 6, typeMessage, 0, 0, nil), drop, nil},
		{"ping", keepaliveFrame(keepalivePing), ping, nil},
		{"pong", keepaliveFrame(keepalivePong), pong, nil},
		{"a call", packet(programRemote, procDomainGetState, typeCall, 1, 0, nil), drop, errFrame},
		{"a stream", packet(programRemote, procDomainGetState, 3, 1, 0, nil), drop, errFrame},
		{"an answer of QEMU's program", packet(0x20008087, 1, typeReply, 1, 0, nil), drop, errFrame},
		{"another protocol", packet(0x47455420, 0, typeReply, 0, 0, nil), drop, errFrame},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := judge(test.f, under)
			require.Equal(t, test.want, got)
			require.ErrorIs(t, err, test.err)
		})
	}
}

// allProcedures are those that are ever sent.
var allProcedures = []uint32{
	procConnectOpen, procConnectClose, procConnectGetVersion, procDomainGetXMLDesc, procAuthList,
	procConnectGetLibVersion, procDomainGetState, procDomainGetControlInfo, procConnectListAllDomains, procEventRegisterAny,
}

// TestAllowList: of libvirt's procedures (some 450 in 9.0) no other can be called.
func TestAllowList(t *testing.T) {
	var allowed []uint32
	for procedure := range uint32(10_000) {
		if _, ok := replyShape(procedure); ok {
			allowed = append(allowed, procedure)
		}
	}
	require.ElementsMatch(t, allProcedures, append(allowed, procDomainGetXMLDesc), "the guard itself asks for XML")
}

package session

import (
	"encoding/binary"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// xdr builds payloads.
type xdr []byte

func (x xdr) word(v uint32) xdr  { return binary.BigEndian.AppendUint32(x, v) }
func (x xdr) hyper(v uint64) xdr { return binary.BigEndian.AppendUint64(x, v) }
func (x xdr) text(s string) xdr {
	x = append(x.word(uint32(len(s))), s...)
	return append(x, make([]byte, -len(s)&3)...)
}
func (x xdr) domain(name string) xdr { return x.numbered(name, 0) }
func (x xdr) numbered(name string, id uint32) xdr {
	return append(x.text(name), make([]byte, 16)...).word(id)
}

func packet(program, procedure, kind, serial, status uint32, payload []byte) frame {
	f := frame(xdr{}.word(uint32(headerSize + len(payload))).word(program).word(protocolVersion).
		word(procedure).word(kind).word(serial).word(status))
	return append(f, payload...)
}

func answer(call frame, payload []byte) frame {
	return packet(programRemote, call.procedure(), typeReply, call.serial(), statusOK, payload)
}

func refusal(call frame, code uint32, text string) frame {
	payload := xdr{}.word(code).word(10).word(1).text(text).word(2).word(0).word(0).word(0).word(0)
	return packet(programRemote, call.procedure(), typeReply, call.serial(), statusError, payload)
}

// The lifecycle events that are used here (virDomainEventType).
const (
	eventSuspended = 3
	eventResumed   = 4
)

func lifecycleEvent(kind uint32) frame {
	return packet(programRemote, procEventLifecycle, typeMessage, 0, statusOK, xdr{}.word(1).domain("shop_web").word(kind).word(0))
}

// A peer is in the place of libvirt, for what a real libvirt does not do. It
// answers as libvirt does, unless twist does something else and returns true.
type peer struct {
	xml   string
	twist func(conn net.Conn, call frame) (done bool)
}

// serve answers the calls of one connection until it ends.
func (p peer) serve(conn net.Conn) {
	defer conn.Close()
	for {
		call, err := readFrame(conn)
		if err != nil {
			return
		}
		if p.twist != nil && p.twist(conn, call) {
			continue
		}
		if call.program() == programKeepalive {
			conn.Write(keepaliveFrame(keepalivePong)) //nolint:errcheck // the sidecar may have hung up
			continue
		}
		conn.Write(answer(call, p.payload(call.procedure()))) //nolint:errcheck // as above
	}
}

func (p peer) payload(procedure uint32) []byte {
	switch procedure {
	case procAuthList:
		return xdr{}.word(1).word(0)
	case procConnectGetVersion:
		return xdr{}.hyper(7_002_022)
	case procConnectGetLibVersion:
		return xdr{}.hyper(9_000_000)
	case procConnectListAllDomains:
		return xdr{}.word(1).domain("shop_web").word(1)
	case procDomainGetState:
		return xdr{}.word(1).word(1)
	case procDomainGetControlInfo:
		return xdr{}.word(0).word(0).hyper(0)
	case procDomainGetXMLDesc:
		return xdr{}.text(p.xml)
	case procEventRegisterAny:
		return xdr{}.word(1)
	default:
		return nil
	}
}

// listen lets the peer serve on a socket, one connection at a time, until the
// test ends, and returns the socket's path.
func (p peer) listen(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return path
}

package session

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A wire is a connection in memory: what is read from it is given, what is
// written to it is kept.
type wire struct {
	net.Conn // nil: nothing but these methods is used
	in       io.Reader
	out      bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error)  { return w.in.Read(p) }
func (w *wire) Write(p []byte) (int, error) { return w.out.Write(p) }
func (w *wire) Close() error                { return nil }

func TestGuardOpensReadOnly(t *testing.T) {
	w := &wire{}
	call := packet(programRemote, procConnectOpen, typeCall, 1, statusOK, xdr{}.word(1).text("qemu:///session").word(0))
	sent := bytes.Clone(call)
	n, err := newGuard(w).Write(sent)
	require.NoError(t, err)
	require.Equal(t, len(call), n)
	require.Equal(t, []byte(call), sent, "the caller's bytes are not touched")
	call[len(call)-1] = 1
	require.Equal(t, []byte(call), w.out.Bytes())
}

func TestGuardSendsNothingElse(t *testing.T) {
	const domainDestroy = 12
	for name, call := range map[string]frame{
		"destroy":                packet(programRemote, domainDestroy, typeCall, 1, statusOK, xdr{}.domain("shop_web")),
		"QEMU's monitor":         packet(0x20008087, 1, typeCall, 1, statusOK, nil),
		"a stream":               packet(programRemote, procDomainGetState, 3, 1, statusOK, nil),
		"XML, by go-libvirt":     packet(programRemote, procDomainGetXMLDesc, typeCall, 1, statusOK, xdr{}.domain("shop_web").word(0)),
		"less than a header":     frame("short"),
		"the admin's procedures": packet(0x06900690, procConnectOpen, typeCall, 1, statusOK, nil),
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{}
			g := newGuard(w)
			_, err := g.Write(call)
			require.Error(t, err)
			require.Zero(t, w.out.Len())
			require.Equal(t, err, g.Err(), "and the connection has ended")
		})
	}
}

func TestGuardAnswersPing(t *testing.T) {
	w := &wire{in: bytes.NewReader(keepaliveFrame(keepalivePing))}
	_, err := io.ReadAll(newGuard(w))
	require.ErrorIs(t, err, errHungUp)
	require.Equal(t, []byte(keepaliveFrame(keepalivePong)), w.out.Bytes())
}

// TestGuardErrors: go-libvirt reads on after an error that is a net.OpError and
// calls itself temporary, as one from a deadline does.
func TestGuardErrors(t *testing.T) {
	timeout := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	require.True(t, timeout.Temporary())
	_, err := newGuard(&wire{in: failing{timeout}}).Read(make([]byte, 4))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	_, isOpError := err.(*net.OpError) //nolint:errorlint // as go-libvirt asks
	require.False(t, isOpError)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// underWay are the calls of a session's begin, as go-libvirt and the guard count them.
func underWay() calls {
	under := calls{firstQuestion: procDomainGetXMLDesc, firstQuestion + 1: procDomainGetXMLDesc}
	for i, procedure := range []uint32{
		procAuthList, procConnectOpen, procEventRegisterAny,
		procConnectListAllDomains, procDomainGetState, procConnectGetLibVersion, procConnectGetVersion,
		procConnectListAllDomains, procDomainGetState, procConnectListAllDomains, procDomainGetState, procDomainGetControlInfo,
		procConnectClose,
	} {
		under[uint32(i+1)] = procedure
	}
	return under
}

// FuzzGuard: whatever comes in, only whole packets of the right shape are handed
// on, at most one for each call, and the guard ends with an error. The corpus
// holds what a real libvirtd sent.
func FuzzGuard(f *testing.F) {
	paths, err := filepath.Glob("testdata/sessions/*.bin")
	require.NoError(f, err)
	require.NotEmpty(f, paths)
	for _, path := range paths {
		session, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(session)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		g := newGuard(&wire{in: bytes.NewReader(input)})
		close(g.opened)
		g.under = underWay()
		called := underWay()
		answers := make(chan int)
		go func() {
			count := 0
			for range g.xml {
				count++
			}
			answers <- count
		}()
		got, err := io.ReadAll(g)
		require.Error(t, err)
		close(g.xml)
		require.LessOrEqual(t, <-answers, 2, "one for each question")
		for rest := bytes.NewReader(got); rest.Len() > 0; {
			packet, err := readFrame(rest)
			require.NoError(t, err)
			require.NotEqual(t, uint32(procDomainGetXMLDesc), packet.procedure(), "XML is not go-libvirt's")
			require.NoError(t, judgeReply(packet, called))
			delete(called, packet.serial())
		}
		require.True(t, errors.Is(err, errHungUp) || errors.Is(err, errFrame) || errors.Is(err, errShape), err)
	})
}

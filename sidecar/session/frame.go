package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// headerSize is that of a packet's length and header together, in bytes
// (libvirt src/rpc/virnetprotocol.x, struct virNetMessageHeader).
const headerSize = 28

// The programs, their version, and the types and statuses of messages
// (virnetprotocol.x, remote_protocol.x, keepalive in virkeepaliveprotocol.x).
const (
	programRemote    = 0x20008086
	programKeepalive = 0x6b656570
	protocolVersion  = 1

	typeCall    = 0
	typeReply   = 1
	typeMessage = 2

	statusOK    = 0
	statusError = 1

	keepalivePing = 1
	keepalivePong = 2
)

// errFrame is a packet that libvirt would not send.
var errFrame = errors.New("not libvirt's protocol")

// A frame is one whole packet: length, header and payload.
type frame []byte

func (f frame) size() uint32      { return binary.BigEndian.Uint32(f) }
func (f frame) program() uint32   { return binary.BigEndian.Uint32(f[4:]) }
func (f frame) version() uint32   { return binary.BigEndian.Uint32(f[8:]) }
func (f frame) procedure() uint32 { return binary.BigEndian.Uint32(f[12:]) }
func (f frame) kind() uint32      { return binary.BigEndian.Uint32(f[16:]) }
func (f frame) serial() uint32    { return binary.BigEndian.Uint32(f[20:]) }
func (f frame) status() uint32    { return binary.BigEndian.Uint32(f[24:]) }
func (f frame) payload() []byte   { return f[headerSize:] }

// readHeader reads a packet's length and header. A length out of bounds ends the
// reading before anything is allocated for it.
func readHeader(r io.Reader) (frame, error) {
	head := make(frame, headerSize)
	if _, err := io.ReadFull(r, head[:4]); err != nil {
		return nil, err
	}
	if size := head.size(); size < headerSize || size > maxFrame {
		return nil, fmt.Errorf("%w: a packet of %d bytes (%d to %d are possible)", errFrame, size, headerSize, maxFrame)
	}
	_, err := io.ReadFull(r, head[4:])
	return head, err
}

// readRest reads the rest of a packet that is held in memory as a whole.
func readRest(r io.Reader, head frame) (frame, error) {
	size := head.size()
	if size > maxHeldFrame {
		return nil, fmt.Errorf("%w: procedure %d, a packet of %d bytes (at most %d are possible)", errFrame, head.procedure(), size, maxHeldFrame)
	}
	f := append(make(frame, 0, size), head...)[:size]
	_, err := io.ReadFull(r, f[headerSize:])
	return f, err
}

func readFrame(r io.Reader) (frame, error) {
	head, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	return readRest(r, head)
}

func newFrame(program, procedure, kind, serial uint32, payload []byte) frame {
	f := make(frame, headerSize, headerSize+len(payload))
	for i, word := range []uint32{uint32(headerSize + len(payload)), program, protocolVersion, procedure, kind, serial, statusOK} {
		binary.BigEndian.PutUint32(f[4*i:], word)
	}
	return append(f, payload...)
}

func keepaliveFrame(procedure uint32) frame {
	return newFrame(programKeepalive, procedure, typeMessage, 0, nil)
}

// A verdict says what to do with a packet from libvirt.
type verdict int

const (
	drop    verdict = iota // of no interest
	forward                // the answer to a call of go-libvirt's
	refused                // libvirt's refusal to give a domain's XML
	event                  // a lifecycle event
	ping                   // libvirt asks whether we live
	pong                   // libvirt answers that it lives
)

// calls are those under way: the procedure by its serial number.
type calls map[uint32]uint32

// judge decides on a packet from libvirt, given the calls under way. An error
// means that the peer does not speak libvirt's protocol.
func judge(f frame, under calls) (verdict, error) {
	switch {
	case f.program() == programKeepalive && f.procedure() == keepalivePing:
		return ping, nil
	case f.program() == programKeepalive && f.procedure() == keepalivePong:
		return pong, nil
	case f.kind() == typeMessage && f.program() == programRemote && f.procedure() == procEventLifecycle:
		return event, fits(f.payload(), eventShape)
	case f.kind() == typeMessage:
		return drop, nil
	case f.kind() == typeReply && f.program() == programRemote && f.procedure() == procDomainGetXMLDesc:
		return refused, judgeReply(f, under)
	case f.kind() == typeReply && f.program() == programRemote:
		return forward, judgeReply(f, under)
	default:
		return drop, fmt.Errorf("%w: program %#x, type %d", errFrame, f.program(), f.kind())
	}
}

// wasCalled checks that a reply, of which the header is enough, answers a call under way.
func wasCalled(f frame, under calls) error {
	if procedure, waiting := under[f.serial()]; !waiting || f.procedure() != procedure {
		return fmt.Errorf("%w: an answer to procedure %d, serial %d, which was not called", errFrame, f.procedure(), f.serial())
	}
	return nil
}

func judgeReply(f frame, under calls) error {
	if err := wasCalled(f, under); err != nil {
		return err
	}
	switch f.status() {
	case statusError:
		return fits(f.payload(), errorShape)
	case statusOK:
		reply, known := replyShape(f.procedure())
		if !known {
			return fmt.Errorf("%w: a reply to procedure %d that is held in memory", errFrame, f.procedure())
		}
		return fits(f.payload(), reply)
	default:
		return fmt.Errorf("%w: an answer of status %d", errFrame, f.status())
	}
}

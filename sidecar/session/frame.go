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

func (f frame) program() uint32   { return binary.BigEndian.Uint32(f[4:]) }
func (f frame) version() uint32   { return binary.BigEndian.Uint32(f[8:]) }
func (f frame) procedure() uint32 { return binary.BigEndian.Uint32(f[12:]) }
func (f frame) kind() uint32      { return binary.BigEndian.Uint32(f[16:]) }
func (f frame) serial() uint32    { return binary.BigEndian.Uint32(f[20:]) }
func (f frame) status() uint32    { return binary.BigEndian.Uint32(f[24:]) }
func (f frame) payload() []byte   { return f[headerSize:] }

// readFrame reads one packet into buffer, or into a larger one if it must. A
// length out of bounds ends the reading before anything is allocated for it.
func readFrame(r io.Reader, buffer []byte) (frame, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size < headerSize || size > maxFrame {
		return nil, fmt.Errorf("%w: a packet of %d bytes (%d to %d are possible)", errFrame, size, headerSize, maxFrame)
	}
	if uint32(cap(buffer)) < size {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	copy(buffer, length[:])
	if _, err := io.ReadFull(r, buffer[4:]); err != nil {
		return nil, err
	}
	return buffer, nil
}

func keepaliveFrame(procedure uint32) frame {
	f := make(frame, headerSize)
	binary.BigEndian.PutUint32(f[0:], headerSize)
	binary.BigEndian.PutUint32(f[4:], programKeepalive)
	binary.BigEndian.PutUint32(f[8:], protocolVersion)
	binary.BigEndian.PutUint32(f[12:], procedure)
	binary.BigEndian.PutUint32(f[16:], typeMessage)
	return f
}

// A verdict says what to do with a packet from libvirt.
type verdict int

const (
	drop    verdict = iota // of no interest
	forward                // the answer to a call under way
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
	case f.kind() == typeReply && f.program() == programRemote:
		return forward, judgeReply(f, under)
	default:
		return drop, fmt.Errorf("%w: program %#x, type %d", errFrame, f.program(), f.kind())
	}
}

func judgeReply(f frame, under calls) error {
	if procedure, waiting := under[f.serial()]; !waiting || f.procedure() != procedure {
		return fmt.Errorf("%w: an answer to procedure %d, serial %d, which was not called", errFrame, f.procedure(), f.serial())
	}
	switch f.status() {
	case statusError:
		return fits(f.payload(), errorShape)
	case statusOK:
		reply, _ := replyShape(f.procedure())
		return fits(f.payload(), reply)
	default:
		return fmt.Errorf("%w: an answer of status %d", errFrame, f.status())
	}
}

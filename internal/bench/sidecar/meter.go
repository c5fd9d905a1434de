package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// programKeepalive marks a keepalive packet (libvirt, virkeepaliveprotocol.x).
const programKeepalive = 0x6b656570

// maxPacket is more than libvirt sends (virnetprotocol.x, VIR_NET_MESSAGE_MAX).
const maxPacket = 32 << 20

// packetCount is how many packets went by, in both directions.
type packetCount struct{ rpc, keepalive float64 }

// A meter is a Unix socket that hands every packet on to libvirt's, and back, and
// counts them.
type meter struct {
	path     string
	backend  string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	count  packetCount
	err    error
	closed bool
}

func newMeter(path, backend string, uid int) (*meter, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		err = os.Chown(path, uid, uid)
	}
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	m := &meter{path: path, backend: backend, listener: listener}
	m.wg.Go(m.accept)
	return m, nil
}

func (m *meter) accept() {
	for {
		client, err := m.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", m.backend)
		if err != nil {
			m.fail(err)
			client.Close()
			continue
		}
		if !m.keep(client, server) {
			return
		}
		m.wg.Go(func() { m.hand(client, server) })
		m.wg.Go(func() { m.hand(server, client) })
	}
}

// keep notes connections to be closed with the meter.
func (m *meter) keep(conns ...net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		for _, c := range conns {
			c.Close()
		}
		return false
	}
	m.conns = append(m.conns, conns...)
	return true
}

// hand hands packets on until one side ends; then both do.
func (m *meter) hand(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	for {
		program, err := handPacket(from, to)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			m.fail(err)
			return
		}
		m.add(program)
	}
}

// handPacket hands one packet on and returns the program it belongs to.
func handPacket(from io.Reader, to io.Writer) (program uint32, err error) {
	var head [8]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return 0, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < uint32(len(head)) || length > maxPacket {
		return 0, fmt.Errorf("a packet of %d bytes", length)
	}
	packet := make([]byte, length)
	copy(packet, head[:])
	if _, err := io.ReadFull(from, packet[len(head):]); err != nil {
		return 0, err
	}
	_, err = to.Write(packet)
	return binary.BigEndian.Uint32(head[4:]), err
}

func (m *meter) add(program uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if program == programKeepalive {
		m.count.keepalive++
	} else {
		m.count.rpc++
	}
}

func (m *meter) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.err = errors.Join(m.err, err)
	}
}

func (m *meter) read() packetCount {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// failure tells what the meter could not hand on.
func (m *meter) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *meter) close() {
	m.listener.Close()
	m.mu.Lock()
	m.closed = true
	for _, c := range m.conns {
		c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

package main

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// packet is one of libvirt's: length, program, and the rest of a header.
func packet(program uint32) []byte {
	p := make([]byte, 28)
	binary.BigEndian.PutUint32(p, uint32(len(p)))
	binary.BigEndian.PutUint32(p[4:], program)
	return p
}

func TestMeterCountsAndHandsOn(t *testing.T) {
	folder := t.TempDir()
	backend, err := net.Listen("unix", filepath.Join(folder, "backend"))
	require.NoError(t, err)
	defer backend.Close()
	go func() { // an echo
		conn, err := backend.Accept()
		if err == nil {
			io.Copy(conn, conn) //nolint:errcheck // the reader sees what is missing
			conn.Close()
		}
	}()
	m, err := newMeter(filepath.Join(folder, "meter"), filepath.Join(folder, "backend"), os.Getuid())
	require.NoError(t, err)
	defer m.close()

	conn, err := net.Dial("unix", m.path)
	require.NoError(t, err)
	for _, p := range [][]byte{packet(0x20008086), packet(programKeepalive), packet(0x20008086)} {
		_, err := conn.Write(p)
		require.NoError(t, err)
		back := make([]byte, len(p))
		_, err = io.ReadFull(conn, back)
		require.NoError(t, err)
		require.Equal(t, p, back)
	}
	require.NoError(t, conn.Close())
	m.close() // waits until the last packet is counted
	require.Equal(t, packetCount{rpc: 4, keepalive: 2}, m.read())
	require.NoError(t, m.failure())
}

func TestMeterRefusesHugePackets(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go client.Write([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}) //nolint:errcheck // the other end fails
	_, err := handPacket(server, io.Discard)
	require.ErrorContains(t, err, "a packet of 4294967295 bytes")
}

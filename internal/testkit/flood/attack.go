package flood

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// attackers are how many addresses a flood comes from.
const attackers = 4

// again is how long an attacker waits until it connects again. Without it the attackers
// would measure how fast this machine can connect.
const again = time.Second

// An attack does with one connection what it can to hold it, and returns when it has
// done so. n counts the attack's connections.
type attack func(conn net.Conn, n int64) error

// silent says nothing.
func silent(net.Conn, int64) error { return nil }

// hello begins a TLS handshake and does not go on.
func hello() (attack, error) {
	record, err := clientHello()
	return func(conn net.Conn, _ int64) error {
		_, err := conn.Write(record)
		return err
	}, err
}

// clientHello is what a client sends first.
func clientHello() ([]byte, error) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "program", InsecureSkipVerify: true}).Handshake() // ends with far
		_ = near.Close()
	}()
	record := make([]byte, 16<<10)
	n, err := far.Read(record)
	return bytes.Clone(record[:n]), err
}

// sends writes a text made of format, in which %d is the connection's number.
func sends(format string) attack {
	return func(conn net.Conn, n int64) error {
		text := format
		if strings.Contains(format, "%d") {
			text = fmt.Sprintf(format, n)
		}
		_, err := io.WriteString(conn, text)
		return err
	}
}

// either does one or the other.
func either(first, second attack) attack {
	return func(conn net.Conn, n int64) error {
		if n%2 == 0 {
			return first(conn, n)
		}
		return second(conn, n)
	}
}

// asksFirst sends a whole request before the attack, so that the connection is not a new
// one any more.
func asksFirst(then attack) attack {
	return func(conn net.Conn, n int64) error {
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: program\r\n\r\n"); err != nil {
			return err
		}
		if _, err := conn.Read(make([]byte, 4<<10)); err != nil {
			return err
		}
		return then(conn, n)
	}
}

// encrypted does the attack within TLS.
func encrypted(inner attack) attack {
	return func(conn net.Conn, n int64) error {
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := client.Handshake(); err != nil {
			return err
		}
		return inner(client, n)
	}
}

// manyLines is a header of the most lines that fit into the length, without its end.
func manyLines(length int) string {
	var b strings.Builder
	b.WriteString("GET /healthz HTTP/1.1\r\nHost: program\r\n")
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	for i := 0; b.Len() < length-6; i++ {
		b.WriteByte(digits[i%36])
		b.WriteByte(digits[i/36%36])
		b.WriteByte(digits[i/1296%36])
		b.WriteString(":\n")
	}
	return b.String()
}

// flood lets as many connections at a time do the attack until ctx ends. One that the
// program closes is made again. It returns how many were made.
func flood(ctx context.Context, p port, a attack, connections int) int64 {
	var count atomic.Int64
	var all sync.WaitGroup
	for i := range connections {
		dialer := &net.Dialer{}
		if p.network == "tcp" {
			dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%attackers))}
		}
		all.Go(func() {
			for ctx.Err() == nil {
				hold(ctx, dialer, p, a, count.Add(1))
				select {
				case <-ctx.Done():
				case <-time.After(again):
				}
			}
		})
	}
	all.Wait()
	return count.Load()
}

// hold makes one connection, does the attack and waits until the program closes it.
func hold(ctx context.Context, dialer *net.Dialer, p port, a attack, n int64) {
	conn, err := dialer.DialContext(ctx, p.network, p.address)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	if a(conn, n) == nil {
		_, _ = io.Copy(io.Discard, conn) // ends when the program has closed it
	}
}

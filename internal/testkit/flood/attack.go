package flood

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
	"kubevirt-hypervisor-exporter/internal/testkit/launcherpod"
)

const (
	// attackers is how many addresses a flood comes from.
	attackers = 4
	// again is how long an attacker waits until it connects again. Without it the attackers
	// would measure how fast this machine can connect.
	again = time.Second
)

// An attack does with one connection what it can to hold it, and returns when it has
// done so. n counts the attack's connections.
type attack func(conn net.Conn, n int64) error

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

// hello begins a TLS handshake and does not go on.
func hello() (attack, error) {
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	go func() {
		_ = tls.Client(near, &tls.Config{ServerName: "program", InsecureSkipVerify: true}).Handshake() // ends with far
		_ = near.Close()
	}()
	record := make([]byte, 16<<10)
	n, err := far.Read(record)
	return sends(string(record[:n])), err
}

// sends writes the text; "" is a silent connection.
func sends(text string) attack {
	return func(conn net.Conn, _ int64) error {
		_, err := io.WriteString(conn, text)
		return err
	}
}

// bogusToken asks for a pod's page with another token on each connection, about as long as the relay accepts.
func bogusToken(conn net.Conn, n int64) error {
	const format = "GET /pods/00000000-0000-4000-8000-000000000000/metrics HTTP/1.1\r\nHost: program\r\nAuthorization: Bearer bogus-%08000d\r\n\r\n"
	_, err := fmt.Fprintf(conn, format, n)
	return err
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

// asksFirst sends a whole request before the attack, so that the connection is not new
// any more.
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
		b.Write([]byte{digits[i%36], digits[i/36%36], digits[i/1296%36], ':', '\n'})
	}
	return b.String()
}

// costlyReviews posts, by turns, reviews that become much memory or much work in a decoder. All but the first are small, and
// only bounds keep them cheap. The first is about as large as a review may be: 7.15 MB and 32,528 JSON values.
func costlyReviews() (attack, error) {
	root, err := testkit.ModuleRoot(context.Background())
	if err != nil {
		return nil, err
	}
	pod, _, err := readLauncherPod(root)
	if err != nil {
		return nil, err
	}
	largest, err := launcherpod.Largest(pod, 7<<20-1000, 32<<10)
	if err != nil {
		return nil, err
	}
	pods := []string{
		string(largest),
		containers(60_000, "{}"),
		containers(16_000, "{}"),
		containers(1, `{"resources":{"requests":{"cpu":"1e-2147483647"}}}`),
		containers(4_000, `{"resources":{"limits":{"cpu":"`+strings.Repeat("9", 40)+`"}}}`),
		`{"metadata":{"annotations":{"a":"` + strings.Repeat(`\u0000`, 100_000) + `"}}}`,
		strings.Repeat(`{"spec":`, 50_000) + strings.Repeat(`}`, 50_000),
	}
	for i, pod := range pods {
		pods[i] = post(pod)
	}
	return posts(func(n int64, _ int) string { return pods[n%int64(len(pods))] }, ""), nil
}

// containers is a pod with so many of the container.
func containers(count int, container string) string {
	return `{"spec":{"containers":[` + strings.Repeat(container+",", count-1) + container + `]}}`
}

// everNewVMs posts reviews of launcher pods, each of another VM.
func everNewVMs() attack {
	const pod = `{"metadata":{"generateName":"virt-launcher-vm-","labels":{"kubevirt.io":"virt-launcher"},` +
		`"ownerReferences":[{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstance","name":"vm","uid":"%d-%d","controller":true}]},` +
		`"spec":{"volumes":[{"name":"libvirt-runtime","emptyDir":{}}],"containers":[{"name":"compute","resources":{"requests":{"memory":"1Gi"}},` +
		`"volumeMounts":[{"name":"libvirt-runtime","mountPath":"/var/run/libvirt"}]}]}}`
	return posts(func(n int64, i int) string { return post(fmt.Sprintf(pod, n, i)) }, "JSONPatch") // not injected, a VM is not remembered
}

// posts sends one request after the other for as long as the connection lives. Each answer must contain the text.
func posts(request func(n int64, i int) string, want string) attack {
	return func(conn net.Conn, n int64) error {
		answers := bufio.NewReader(conn)
		for i := 0; ; i++ {
			if _, err := io.WriteString(conn, request(n, i)); err != nil {
				return err
			}
			answer, err := http.ReadResponse(answers, nil)
			if err != nil {
				return err
			}
			text, err := io.ReadAll(answer.Body)
			if err == nil && !bytes.Contains(text, []byte(want)) {
				err = fmt.Errorf("want %q in %s", want, text)
			}
			if err != nil {
				return err
			}
		}
	}
}

// post is the request that creates the pod.
func post(pod string) string {
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":` + pod + `}}`
	return fmt.Sprintf("POST /mutate HTTP/1.1\r\nHost: program\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

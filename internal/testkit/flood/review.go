package flood

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// costlyReviews posts, by turns, reviews whose few bytes become much memory or much work
// in a decoder without bounds.
func costlyReviews() attack {
	pods := []string{
		containers(60_000, "{}"),
		containers(16_000, "{}"),
		containers(1, `{"resources":{"requests":{"cpu":"1e-2147483647"}}}`),
		containers(4_000, `{"resources":{"limits":{"cpu":"`+strings.Repeat("9", 40)+`"}}}`),
		`{"metadata":{"annotations":{"a":"` + strings.Repeat(`\u0000`, 100_000) + `"}}}`,
		strings.Repeat(`{"spec":`, 50_000) + strings.Repeat(`}`, 50_000),
	}
	var posts []string
	for _, pod := range pods {
		posts = append(posts, post(pod))
	}
	return func(conn net.Conn, n int64) error {
		_, err := io.WriteString(conn, posts[n%int64(len(posts))])
		return err
	}
}

// everNewVMs posts reviews of launcher pods, each of another VM, for as long as the connection lives.
func everNewVMs(conn net.Conn, n int64) error {
	const pod = `{"metadata":{"generateName":"virt-launcher-vm-","labels":{"kubevirt.io":"virt-launcher"},` +
		`"ownerReferences":[{"apiVersion":"kubevirt.io/v1","kind":"VirtualMachineInstance","name":"vm","uid":"%d-%d","controller":true}]},` +
		`"spec":{"volumes":[{"name":"libvirt-runtime","emptyDir":{}}],"containers":[{"name":"compute","resources":{"requests":{"memory":"1Gi"}},` +
		`"volumeMounts":[{"name":"libvirt-runtime","mountPath":"/var/run/libvirt"}]}]}}`
	answers := bufio.NewReader(conn)
	for i := 0; ; i++ {
		if _, err := io.WriteString(conn, post(fmt.Sprintf(pod, n, i))); err != nil {
			return err
		}
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		if err == nil && !bytes.Contains(text, []byte("JSONPatch")) {
			err = fmt.Errorf("not injected, so not remembered: %s", text)
		}
		if err != nil {
			return err
		}
	}
}

// refusedVM is a VM whose pods are refused with the sidecar: the first two are injected, and those after a second are
// not, but for two that may have their turn where answers take long (package refusals).
func refusedVM(p port, review func(vmi string) string) work {
	client, body := newClient(p, true), review(string(uuid.NewUUID()))
	ask := func(ctx context.Context, want string) error {
		return request(p, client, http.MethodPost, "/mutate", "", body, want)(ctx)
	}
	var first time.Time
	turns := 0
	return func(ctx context.Context) error {
		if first.IsZero() {
			for range 2 {
				if err := ask(ctx, `"patchType":"JSONPatch"`); err != nil {
					return err
				}
			}
			first = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(first.Add(1100 * time.Millisecond))):
		}
		err := ask(ctx, inject.RefusedBefore.Sentence())
		if errors.Is(err, errOtherAnswer) && turns < 2 {
			turns++
			return nil
		}
		return err
	}
}

// post is the request that creates the pod.
func post(pod string) string {
	body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":` + pod + `}}`
	return fmt.Sprintf("POST /mutate HTTP/1.1\r\nHost: program\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// containers is a pod with so many of the container.
func containers(count int, container string) string {
	return `{"spec":{"containers":[` + strings.Repeat(container+",", count-1) + container + `]}}`
}

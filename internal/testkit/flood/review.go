package flood

import (
	"fmt"
	"io"
	"net"
	"strings"
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
		body := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","kind":{"version":"v1","kind":"Pod"},"operation":"CREATE","object":` + pod + `}}`
		posts = append(posts, fmt.Sprintf("POST /mutate HTTP/1.1\r\nHost: program\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	}
	return func(conn net.Conn, n int64) error {
		_, err := io.WriteString(conn, posts[n%int64(len(posts))])
		return err
	}
}

// containers is a pod with so many of the container.
func containers(count int, container string) string {
	return `{"spec":{"containers":[` + strings.Repeat(container+",", count-1) + container + `]}}`
}

// Package scrape carries a scrape to a pod's socket and the page back. It reads
// the head of the pod's answer, and never the page.
package scrape

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

const (
	pathPrefix = "/pods/"
	pathSuffix = "/metrics"
	// timeoutHeader is how Prometheus sends how long it will wait (scrape/scrape.go).
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// maxMargin is how much earlier than the scraper the relay gives up, so that the
	// reason arrives; of short timeouts it is a tenth. The blackbox exporter does so.
	maxMargin = 500 * time.Millisecond
)

// IsPath reports whether an escaped URL path is a pod's: whether it begins with /pods/.
func IsPath(escaped string) bool { return strings.HasPrefix(escaped, pathPrefix) }

// ParsePath takes the uid out of an escaped URL path, /pods/{uid}/metrics and
// nothing else: what would have to be unescaped or cleaned is not a uid.
func ParsePath(escaped string) (podsocket.UID, bool) {
	rest, found := strings.CutPrefix(escaped, pathPrefix)
	text, suffixed := strings.CutSuffix(rest, pathSuffix)
	if !found || !suffixed {
		return "", false
	}
	uid, err := podsocket.ParseUID(text)
	return uid, err == nil
}

// A request is all of a scrape that reaches the pod.
type request struct {
	accept   string
	encoding string
	// timeout is how long the scrape may take here.
	timeout time.Duration
}

// newRequest reads the three headers that pass; the rest, credentials above all, stays.
func newRequest(header http.Header, most time.Duration) request {
	return request{
		accept:   acceptable(header.Values("Accept")),
		encoding: strings.Join(header.Values("Accept-Encoding"), ", "),
		timeout:  timeout(header.Get(timeoutHeader), most),
	}
}

// acceptable leaves out of Accept what would not pass on the way back. Prometheus
// with native histograms prefers protobuf, which the sidecar can write, and would
// otherwise never get a page.
func acceptable(values []string) string {
	var kept []string
	for _, value := range values {
		for mediaRange := range strings.SplitSeq(value, ",") {
			mediaType, _, _ := strings.Cut(mediaRange, ";")
			switch mediaType := strings.ToLower(strings.TrimSpace(mediaType)); {
			case mediaType == "*/*", versions(mediaType) != nil:
				kept = append(kept, strings.TrimSpace(mediaRange))
			}
		}
	}
	return strings.Join(kept, ",")
}

// timeout returns the lesser of most and the scraper's timeout, minus the margin. It ignores
// anything but a positive number of seconds.
func timeout(seconds string, most time.Duration) time.Duration {
	scraper, err := strconv.ParseFloat(seconds, 64)
	if err == nil && scraper > 0 && scraper < most.Seconds() {
		most = time.Duration(scraper * float64(time.Second))
	}
	return most - min(most/10, maxMargin)
}

// write sends the request for a page. net/http lets no line end into a header's value.
func (r request) write(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<10)
	fmt.Fprint(out, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
	if r.accept != "" {
		fmt.Fprintf(out, "Accept: %s\r\n", r.accept)
	}
	if r.encoding != "" {
		fmt.Fprintf(out, "Accept-Encoding: %s\r\n", r.encoding)
	}
	fmt.Fprintf(out, "%s: %s\r\n\r\n", timeoutHeader, strconv.FormatFloat(r.timeout.Seconds(), 'f', -1, 64))
	return out.Flush()
}

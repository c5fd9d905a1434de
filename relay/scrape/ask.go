package scrape

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// timeoutHeader is how Prometheus says how long it will wait (scrape/scrape.go).
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// maxMargin is how much earlier than the scraper the relay gives up, so that the
// reason arrives; of short timeouts it is a tenth. The blackbox exporter does so.
const maxMargin = 500 * time.Millisecond

// An ask is all of a scrape that reaches the pod.
type ask struct {
	accept   string
	encoding string
	// timeout is how long the scrape may take here.
	timeout time.Duration
}

// newAsk reads the three headers that pass; the rest, credentials foremost, stays.
func newAsk(header http.Header, most time.Duration) ask {
	return ask{
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

// timeout is the less of most and what the scraper waits, less the margin. What is
// no positive number of seconds counts for nothing.
func timeout(seconds string, most time.Duration) time.Duration {
	wanted, err := strconv.ParseFloat(seconds, 64)
	if err != nil || !(wanted > 0) || wanted >= most.Seconds() {
		return less(most)
	}
	return less(time.Duration(wanted * float64(time.Second)))
}

func less(d time.Duration) time.Duration { return d - min(d/10, maxMargin) }

// write sends the request for a page. What net/http has let in as a header's value
// holds no line end.
func (a ask) write(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<10)
	fmt.Fprint(out, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")
	if a.accept != "" {
		fmt.Fprintf(out, "Accept: %s\r\n", a.accept)
	}
	if a.encoding != "" {
		fmt.Fprintf(out, "Accept-Encoding: %s\r\n", a.encoding)
	}
	fmt.Fprintf(out, "%s: %s\r\n\r\n", timeoutHeader, strconv.FormatFloat(a.timeout.Seconds(), 'f', -1, 64))
	return out.Flush()
}

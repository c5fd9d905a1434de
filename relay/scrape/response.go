package scrape

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxHead bounds a response's head; the sidecar's has 200 bytes.
	maxHead = 8 << 10
	// readBuffer is what is read from a pod at a time.
	readBuffer = 4 << 10
)

// A head is all that passes of a response's head.
type head struct {
	contentType string
	encoding    string // "gzip", or "" for none
	length      int64  // -1: unknown, the body comes in chunks
}

// readHead reads a response's head from a pod and returns what passes, and the body.
// Everything in the answer is the tenant's to choose: an answer that is not the
// exposition of metrics, complete in itself, does not pass.
func readHead(from io.Reader, most int64) (head, io.Reader, *outcome) {
	bounded := &io.LimitedReader{R: from, N: maxHead}
	response, err := http.ReadResponse(bufio.NewReaderSize(bounded, readBuffer), nil)
	if err != nil {
		if bounded.N <= 0 {
			return head{}, nil, failed(Malformed, "the response's head has more than %d bytes", maxHead)
		}
		return head{}, nil, headOutcome(err)
	}
	bounded.N = math.MaxInt64 // from here the body's bound counts
	h, end := checkHead(response)
	if end == nil && h.length > most {
		end = failed(TooLarge, "the page has %d bytes, %d are allowed", h.length, most)
	}
	if end != nil {
		return head{}, nil, end
	}
	return h, &body{from: response.Body, left: most}, nil
}

func checkHead(response *http.Response) (h head, end *outcome) {
	switch code := response.StatusCode; {
	case code >= 300 && code <= 599:
		return h, failedStatus(code)
	case code != http.StatusOK: // interim responses (1xx) and empty successes are not pages
		return h, failed(Malformed, "status %d", code)
	case response.ProtoMajor != 1 || response.ProtoMinor != 1:
		return h, failed(Malformed, "protocol %.20q, want HTTP/1.1", response.Proto)
	}
	if h.contentType, end = contentType(response.Header.Values("Content-Type")); end != nil {
		return h, end
	}
	switch h.encoding = strings.ToLower(strings.Join(response.Header.Values("Content-Encoding"), ", ")); h.encoding {
	case "", "gzip":
	case "identity":
		h.encoding = ""
	default:
		return h, failed(Malformed, "Content-Encoding %.40q, want gzip or none", h.encoding)
	}
	h.length = response.ContentLength
	if h.length < 0 && !slices.Equal(response.TransferEncoding, []string{"chunked"}) {
		// A page that ends where the connection does may end anywhere, and half
		// a page is a lie.
		return h, failed(Malformed, "the page's length is unknown")
	}
	return h, nil
}

// write sets the headers that pass.
func (h head) write(header http.Header) {
	header.Set("Content-Type", h.contentType)
	if h.encoding != "" {
		header.Set("Content-Encoding", h.encoding)
	}
	if h.length >= 0 {
		header.Set("Content-Length", strconv.FormatInt(h.length, 10))
	}
}

// contentType checks that there is one exposition type and writes it again, so that
// none of the pod's own bytes are passed on.
func contentType(values []string) (string, *outcome) {
	if len(values) != 1 {
		return "", failed(Malformed, "%d Content-Types, want one", len(values))
	}
	mediaType, parameters, err := mime.ParseMediaType(values[0])
	if err != nil {
		return "", failed(Malformed, "Content-Type %.80q: %w", values[0], err)
	}
	known := parameters["version"] != ""
	written := mediaType
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		known = known && parameterOK(mediaType, name, parameters[name])
		written += "; " + name + "=" + strings.ToLower(parameters[name])
	}
	if !known {
		return "", failed(Malformed, "Content-Type %.80q is not an exposition of metrics", values[0])
	}
	return written, nil
}

// versions returns those of the exposition formats that are text, by media type
// (Prometheus, docs/instrumenting/content_negotiation). The sidecar offers no
// other.
func versions(mediaType string) []string {
	switch mediaType {
	case "text/plain":
		return []string{"0.0.4", "1.0.0"}
	case "application/openmetrics-text":
		return []string{"0.0.1", "1.0.0"}
	default:
		return nil
	}
}

// parameterOK reports whether a parameter has a value that the formats know.
func parameterOK(mediaType, name, value string) bool {
	switch name {
	case "version":
		return slices.Contains(versions(mediaType), value)
	case "charset":
		return strings.EqualFold(value, "utf-8")
	case "escaping":
		return slices.Contains([]string{"allow-utf-8", "underscores", "dots", "values"}, value)
	default:
		return false
	}
}

// A body is a pod's page, up to a bound.
type body struct {
	from io.Reader
	left int64
}

// Read returns an outcome as the error if there is more than the bound, or less
// than the head has promised.
func (b *body) Read(p []byte) (int, error) {
	// One byte more than is left shows whether the page is larger than the bound.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return 0, failed(TooLarge, "the page has more bytes than are allowed")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = transferOutcome(err, "read the page")
	}
	return n, err
}

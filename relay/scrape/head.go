package scrape

import (
	"bufio"
	"io"
	"math"
	"net/http"
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
	length      int64  // -1: not told, the body comes in chunks
}

// readHead reads a response's head from a pod and gives what passes, and the body.
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
	if end := checkStatus(response.StatusCode); end != nil {
		return head{}, nil, end
	}
	h, end := checkHead(response)
	if end != nil {
		return head{}, nil, end
	}
	if h.length > most {
		return head{}, nil, failed(TooLarge, "the page has %d bytes, %d are allowed", h.length, most)
	}
	return h, &body{from: response.Body, left: most}, nil
}

// checkStatus lets 200 through. An answer before the answer (1xx) and an empty success are
// not answers at all.
func checkStatus(code int) *outcome {
	switch {
	case code == http.StatusOK:
		return nil
	case code >= 300 && code <= 599:
		return failedStatus(code)
	default:
		return failed(Malformed, "status %d", code)
	}
}

func checkHead(response *http.Response) (h head, end *outcome) {
	if response.ProtoMajor != 1 || response.ProtoMinor != 1 {
		return h, failed(Malformed, "protocol %.20q, want HTTP/1.1", response.Proto)
	}
	if h.contentType, end = contentType(response.Header.Values("Content-Type")); end != nil {
		return h, end
	}
	if h.encoding, end = contentEncoding(response.Header.Values("Content-Encoding")); end != nil {
		return h, end
	}
	h.length = response.ContentLength
	chunked := len(response.TransferEncoding) == 1 && response.TransferEncoding[0] == "chunked"
	if h.length < 0 && !chunked {
		// A page that ends where the connection does may end anywhere, and half
		// a page is a lie.
		return h, failed(Malformed, "the page's length is not told")
	}
	return h, nil
}

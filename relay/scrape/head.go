package scrape

import (
	"bufio"
	"fmt"
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
// exposition of metrics, complete in itself, does not pass. The errors are outcomes.
func readHead(from io.Reader, most int64) (head, io.Reader, error) {
	bounded := &io.LimitedReader{R: from, N: maxHead}
	response, err := http.ReadResponse(bufio.NewReaderSize(bounded, readBuffer), nil)
	if err != nil {
		if bounded.N <= 0 {
			return head{}, nil, failed(Malformed, "the response's head has more than %d bytes", maxHead)
		}
		return head{}, nil, headOutcome(err)
	}
	bounded.N = math.MaxInt64 // from here the body's bound counts
	if err := checkStatus(response); err != nil {
		return head{}, nil, err
	}
	h, err := checkHead(response)
	if err != nil {
		return head{}, nil, err
	}
	if h.length > most {
		return head{}, nil, failed(TooLarge, "the page has %d bytes, %d are allowed", h.length, most)
	}
	return h, &body{from: response.Body, left: most}, nil
}

// checkStatus lets 200 through and turns an error of the pod's into an outcome. An
// answer before the answer (1xx), an empty success and a redirect are none.
func checkStatus(response *http.Response) error {
	switch code := response.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code >= 400 && code <= 599:
		return &outcome{result: Status, code: code, err: fmt.Errorf("the pod answered with status %d", code)}
	default:
		return failed(Malformed, "status %d", code)
	}
}

func checkHead(response *http.Response) (h head, err error) {
	if response.ProtoMajor != 1 || response.ProtoMinor != 1 {
		return h, failed(Malformed, "protocol %.20q, want HTTP/1.1", response.Proto)
	}
	if h.contentType, err = contentType(response.Header.Values("Content-Type")); err != nil {
		return h, err
	}
	if h.encoding, err = contentEncoding(response.Header.Values("Content-Encoding")); err != nil {
		return h, err
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

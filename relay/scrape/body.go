package scrape

import (
	"errors"
	"io"
)

// A body is a pod's page, up to a bound.
type body struct {
	from io.Reader
	left int64
}

// Read gives an outcome as the error where there is more than the bound, or less
// than the head has promised.
func (b *body) Read(p []byte) (int, error) {
	// One byte more than is left tells a page that fills the bound from a larger one.
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

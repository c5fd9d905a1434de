package cluster

import (
	"fmt"
	"io"
)

// readAtMost reads all there is, and fails where that is more than the limit.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return content, nil
}

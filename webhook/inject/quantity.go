package inject

import (
	"bytes"
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Quantity is an amount of cpu or memory.
type Quantity struct {
	resource.Quantity
	// Stated is false if the amount is missing, which is not the same as 0.
	Stated bool
}

// UnmarshalJSON reads a string or a number as resource.Quantity does, including white space
// and null. A quantity that is not bounded is an error.
func (q *Quantity) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*q = Quantity{Stated: true}
		return nil
	}
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	text = bytes.TrimSpace(text)
	if !isBounded(text) {
		return fmt.Errorf("quantity %.24q: want at most 40 characters and an exponent of at most 2 digits", text)
	}
	parsed, err := resource.ParseQuantity(string(text))
	if err != nil {
		return fmt.Errorf("quantity %.24q: %w", text, err)
	}
	*q = Quantity{Quantity: parsed, Stated: true}
	return nil
}

// isBounded reports whether the text is short and its exponent, if any, has at most two
// digits. This is true of every quantity that an API server sends: it keeps at most 19
// digits, nine of them after the point (resource.ParseQuantity). Without the bounds a few
// bytes ("1e-2147483647") keep ParseQuantity busy for minutes.
//
// It is not a regular expression because those take kilobytes if many goroutines use one at
// the same time.
func isBounded(text []byte) bool {
	if i := bytes.IndexAny(text, "eE"); i >= 0 && len(bytes.TrimLeft(text[i+1:], "+-")) > 2 {
		return false
	}
	return len(text) <= 40
}

// plainQuantity is the part of Kubernetes' quantities that an annotation may use.
var plainQuantity = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|Ki|Mi|Gi)?$`)

func parsePlain(value string) (resource.Quantity, error) {
	if !plainQuantity.MatchString(value) {
		return resource.Quantity{}, fmt.Errorf("%q is not a plain quantity", value)
	}
	q, err := resource.ParseQuantity(value)
	if err == nil && q.Sign() <= 0 {
		return resource.Quantity{}, fmt.Errorf("%q is not above zero", value)
	}
	return q, err
}

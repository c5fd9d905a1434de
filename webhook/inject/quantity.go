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
	// Stated tells an amount that is given, if only as 0, from one that is missing.
	Stated bool
}

// isBounded says whether the text has at most 40 digits and at most two letters after them or an exponent of at most two
// digits. Every quantity that an API server sends is so: it keeps at most 19 digits, nine of them behind the point
// (resource.ParseQuantity). Without the bounds a few bytes ("1e-2147483647") keep ParseQuantity busy for minutes.
//
// It is not a regular expression because those take kilobytes when many goroutines use one at once.
func isBounded(text []byte) bool {
	const decimal = "0123456789"
	number := trimSign(text)
	suffix := bytes.TrimLeft(number, decimal+".")
	if digits := len(number) - len(suffix); digits < 1 || digits > 40 {
		return false
	}
	if len(suffix) > 1 && (suffix[0] == 'e' || suffix[0] == 'E') {
		if exponent := trimSign(suffix[1:]); len(exponent) > 0 && len(bytes.TrimLeft(exponent, decimal)) == 0 {
			return len(exponent) <= 2
		}
	}
	return len(suffix) <= 2
}

func trimSign(text []byte) []byte {
	if len(text) > 0 && (text[0] == '+' || text[0] == '-') {
		return text[1:]
	}
	return text
}

// UnmarshalJSON reads a string or a number as resource.Quantity does, white space and null
// included. A quantity that is not bounded is an error.
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
		return fmt.Errorf("quantity %.24q: want at most 40 digits and an exponent of at most 2", text)
	}
	parsed, err := resource.ParseQuantity(string(text))
	if err != nil {
		return fmt.Errorf("quantity %.24q: %w", text, err)
	}
	*q = Quantity{Quantity: parsed, Stated: true}
	return nil
}

// MarshalJSON writes the amount; null is an amount that is missing.
func (q Quantity) MarshalJSON() ([]byte, error) {
	if !q.Stated {
		return []byte("null"), nil
	}
	return q.Quantity.MarshalJSON()
}

// plainQuantity is what of Kubernetes' quantities an annotation may be.
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

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errShape is an XDR payload that is not of the shape that its call returns.
var errShape = errors.New("payload does not have the shape of its procedure")

// A shape checks one XDR value (RFC 4506) at the start of the payload and
// returns what follows it. go-libvirt's decoder allocates whatever length a
// payload claims; a payload that fits its shape claims no more than it holds.
type shape func(payload []byte) (rest []byte, err error)

// fits reports whether the payload is just the given values, one after another.
func fits(payload []byte, shapes ...shape) error {
	rest, err := sequence(shapes...)(payload)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: %d bytes too many", errShape, len(rest))
	}
	return nil
}

func sequence(shapes ...shape) shape {
	return func(payload []byte) ([]byte, error) {
		var err error
		for _, next := range shapes {
			if payload, err = next(payload); err != nil {
				return nil, err
			}
		}
		return payload, nil
	}
}

// opaque is a value of so many bytes, whatever they are.
func opaque(size int) shape {
	return func(payload []byte) ([]byte, error) {
		if len(payload) < size {
			return nil, fmt.Errorf("%w: %d bytes where %d are due", errShape, len(payload), size)
		}
		return payload[size:], nil
	}
}

var (
	word   = opaque(4)  // int, unsigned int, enum
	hyper  = opaque(8)  // unsigned hyper
	uuid   = opaque(16) // remote_uuid
	anyEnd = func([]byte) ([]byte, error) { return nil, nil }
)

// text is a string of at most limit bytes, padded to a multiple of four.
func text(limit int) shape {
	return func(payload []byte) ([]byte, error) {
		length, rest, err := count(payload, limit)
		if err != nil {
			return nil, err
		}
		return opaque((length + 3) &^ 3)(rest)
	}
}

// list is an array of at most limit elements.
func list(limit int, element shape) shape {
	return func(payload []byte) ([]byte, error) {
		length, rest, err := count(payload, limit)
		for i := 0; i < length && err == nil; i++ {
			rest, err = element(rest)
		}
		return rest, err
	}
}

func count(payload []byte, limit int) (int, []byte, error) {
	rest, err := word(payload)
	if err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(payload)
	if length > uint32(limit) {
		return 0, nil, fmt.Errorf("%w: a length of %d where at most %d is due", errShape, length, limit)
	}
	return int(length), rest, nil
}

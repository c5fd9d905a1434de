package admission

import (
	"errors"
	"fmt"
)

const (
	// maxValues bounds the members and elements in a review. What a value costs once it is decoded has nothing to
	// do with its bytes: {} is a whole container. A pod that KubeVirt makes has some hundred values, and 18 more for
	// each disk.
	maxValues = 32 << 10
	// maxDepth bounds how deep they lie in each other. What nests deepest in a pod are its managedFields, about 15.
	maxDepth = 64
	// maxScalar bounds the text of a number, true, false or null: the decoder quotes a number that it cannot read.
	maxScalar = 64
	// valueCost is the most that a value takes in memory, in bytes, what is garbage afterwards included: a quantity
	// of 40 digits (TestDecodingIsBounded).
	valueCost = 400
)

// countValues returns how many values the JSON text has at most. Of text that is not JSON it says nothing:
// the decoder checks the syntax of it all before it allocates anything for it.
func countValues(text []byte) (int, error) {
	values, depth, scalar := 1, 0, 0
	for i := 0; i < len(text); i++ {
		scalar++
		switch text[i] {
		case '"':
			i = endOfString(text, i)
			scalar = 0
		case '{', '[':
			values, depth, scalar = values+1, depth+1, 0
		case '}', ']':
			depth, scalar = depth-1, 0
		case ',':
			values, scalar = values+1, 0
		case ' ', '\t', '\r', '\n', ':':
			scalar = 0
		}
		switch {
		case values > maxValues:
			return 0, fmt.Errorf("more than %d values", maxValues)
		case depth > maxDepth:
			return 0, fmt.Errorf("more than %d levels", maxDepth)
		case scalar > maxScalar:
			return 0, errors.New("a number is too long")
		}
	}
	return values, nil
}

// endOfString returns where the string that starts at i ends.
func endOfString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

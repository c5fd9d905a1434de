package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// parse finds the field's number in the text of its file: the line that begins with
// the key, or the whole text if there is no key.
func (f cgroupField) parse(text []byte) (float64, error) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		switch {
		case f.key == "" && len(words) == 1:
			return strconv.ParseFloat(string(words[0]), 64)
		case f.key != "" && len(words) == 2 && string(words[0]) == f.key:
			return strconv.ParseFloat(string(words[1]), 64)
		}
	}
	return 0, fmt.Errorf("no number for %q", f.key)
}

package hypervisor

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
)

// The bounds of what the XML decoder keeps in memory.
const (
	// maxToken bounds one tag, text or comment, in bytes. KubeVirt's longest is below
	// 1 kB; only an attribute or a text of one's own can be longer.
	maxToken = 256 << 10
	// maxDepth bounds how deep elements are nested. libvirt's own nest up to 10 deep.
	maxDepth = 128
)

// scanner reads XML element by element in bounded memory: encoding/xml alone holds a
// token whatever its size, and an entry for each element that is open.
type scanner struct {
	decoder *xml.Decoder
	source  *tokenReader
	depth   int
}

func newScanner(r io.Reader) *scanner {
	source := &tokenReader{from: bufio.NewReader(r)}
	return &scanner{decoder: xml.NewDecoder(source), source: source}
}

// root returns the first element.
func (s *scanner) root() (xml.StartElement, error) {
	for {
		token, err := s.next()
		if err != nil {
			return xml.StartElement{}, err
		}
		if element, ok := token.(xml.StartElement); ok {
			return element, nil
		}
	}
}

// each calls visit for each child of the element that was begun last. visit must read the child to its end.
func (s *scanner) each(visit func(xml.StartElement) error) error {
	for {
		token, err := s.next()
		if err != nil {
			return err
		}
		switch element := token.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := visit(element); err != nil {
				return err
			}
		}
	}
}

// childAttribute reads the element that was begun last to its end, and returns an attribute of its last child of the
// given name.
func (s *scanner) childAttribute(child, name string) (value string, err error) {
	err = s.each(func(element xml.StartElement) error {
		if element.Name.Local == child {
			value = attribute(element, name)
		}
		return s.skip()
	})
	return value, err
}

// skip reads to the end of the element that was begun last.
func (s *scanner) skip() error {
	for outside := s.depth - 1; s.depth > outside; {
		if _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// decode unmarshals the element that was begun last, which may be as long as one token.
func (s *scanner) decode(element xml.StartElement, into any) error {
	s.source.left = maxToken
	s.depth--
	return s.decoder.DecodeElement(into, &element)
}

func (s *scanner) next() (xml.Token, error) {
	s.source.left = maxToken
	token, err := s.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token.(type) {
	case xml.StartElement:
		s.depth++
	case xml.EndElement:
		s.depth--
	}
	if s.depth > maxDepth {
		return nil, fmt.Errorf("%w: elements nested more than %d deep", ErrTooLarge, maxDepth)
	}
	return token, nil
}

// tokenReader gives at most left bytes.
type tokenReader struct {
	from *bufio.Reader
	left int
}

// Read implements io.Reader, which xml.NewDecoder asks for and does not use.
func (r *tokenReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// ReadByte implements io.ByteReader.
func (r *tokenReader) ReadByte() (byte, error) {
	if r.left == 0 {
		return 0, fmt.Errorf("%w: a tag or text of more than %d bytes", ErrTooLarge, maxToken)
	}
	r.left--
	return r.from.ReadByte()
}

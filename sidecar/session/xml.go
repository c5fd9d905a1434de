package session

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"

	libvirt "github.com/digitalocean/go-libvirt"

	"kubevirt-hypervisor-exporter/sidecar/hypervisor"
)

// firstQuestion is the serial number of the first question for XML. go-libvirt counts
// its calls from 1 and does not come this far.
const firstQuestion = 1 << 31

// xmlTimeout bounds how long other answers may have to wait for XML that is being read.
// 4 MiB take 2.5 s with the container's tenth of a CPU.
const xmlTimeout = 30 * time.Second

// An xmlAnswer is libvirt's answer to the question for a domain's XML: a description
// of what it says, or a refusal.
type xmlAnswer struct {
	description *hypervisor.Description
	refusal     error
}

// AskXML asks for a domain's XML, and g.xml receives the answer; only one question may be
// open at a time. go-libvirt does not ask it, for two reasons: its call would wait for
// as long as libvirt has no worker for it, and an answer can be 4 MiB long, which
// go-libvirt would hold three times over in a container of 24 MiB.
func (g *guard) AskXML(domain libvirt.Domain) error {
	serial := firstQuestion + g.questions
	g.questions++
	g.mu.Lock()
	g.under[serial] = procDomainGetXMLDesc
	g.mu.Unlock()
	_, err := g.send(newFrame(programRemote, procDomainGetXMLDesc, typeCall, serial, xmlQuestion(domain)))
	return err
}

// ReadsXML reports whether XML is being read, and has not taken too long yet.
func (g *guard) ReadsXML() bool {
	since := g.xmlSince.Load()
	return since != nil && time.Since(*since) < xmlTimeout
}

// xmlQuestion is remote_domain_get_xml_desc_args: the domain (name, UUID, id) and flags.
func xmlQuestion(domain libvirt.Domain) []byte {
	payload := binary.BigEndian.AppendUint32(nil, uint32(len(domain.Name)))
	payload = append(payload, domain.Name...)
	payload = append(payload, make([]byte, -len(domain.Name)&3)...)
	payload = append(payload, domain.UUID[:]...)
	payload = binary.BigEndian.AppendUint32(payload, uint32(domain.ID))
	return binary.BigEndian.AppendUint32(payload, 0)
}

// isXML reports whether a header is that of a reply with a domain's XML.
func isXML(head frame) bool {
	return head.program() == programRemote && head.kind() == typeReply && head.procedure() == procDomainGetXMLDesc && head.status() == statusOK
}

// takeXML reads the rest of a reply with XML from the connection, piece by piece.
func (g *guard) takeXML(head frame) error {
	g.mu.Lock()
	err := wasCalled(head, g.under)
	delete(g.under, head.serial())
	g.mu.Unlock()
	if err != nil {
		return err
	}
	begin := time.Now()
	g.xmlSince.Store(&begin)
	defer g.xmlSince.Store(nil)
	description, err := readXML(g.Conn, head.size()-headerSize)
	if err != nil {
		return err
	}
	g.xml <- xmlAnswer{description: description}
	return nil
}

// readXML reads an XDR string that fills a payload of the given size. An error is one
// of the connection or of the protocol; what is wrong with the XML is in the description.
func readXML(conn io.Reader, size uint32) (*hypervisor.Description, error) {
	var word [4]byte
	if _, err := io.ReadFull(conn, word[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(word[:])
	if padded := (uint64(length) + 3) &^ 3; padded+4 != uint64(size) {
		return nil, fmt.Errorf("%w: XML of %d bytes in a payload of %d", errShape, length, size)
	}
	payload := &io.LimitedReader{R: conn, N: int64(size) - 4}
	description := hypervisor.Describe(io.LimitReader(payload, int64(length)))
	_, err := io.Copy(io.Discard, payload)
	if err == nil && payload.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return description, err
}

// refusalOf reads the code and message of an error reply, which has errorShape.
func refusalOf(f frame) error {
	payload := f.payload()
	message := payload[16:][:binary.BigEndian.Uint32(payload[12:])]
	return libvirt.Error{Code: binary.BigEndian.Uint32(payload), Message: string(message)}
}

// isRestart reports whether a lifecycle event, which has eventShape, is of a domain that
// starts or goes on: its last words are the event and its detail.
func isRestart(f frame) bool {
	kind := libvirt.DomainEventType(binary.BigEndian.Uint32(f[len(f)-8:]))
	return kind == libvirt.DomainEventStarted || kind == libvirt.DomainEventResumed
}

package hypervisor

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// kubevirtXMLNamespace marks the metadata that KubeVirt puts into its domains
// (virt-launcher/virtwrap/api, schema.go).
const kubevirtXMLNamespace = "http://kubevirt.io"

// maxNameLength bounds the domain type, arch and machine, in bytes: they become
// label values. libvirt's and QEMU's own names stay below 40.
const maxNameLength = 128

// The two ways in which a domain's XML can fail to tell its type.
var (
	ErrXML    = errors.New("domain XML cannot be parsed")
	ErrNoType = errors.New("domain XML names no domain type")
)

// Detection is what a domain's XML says of its hypervisor. DomainType is raw
// (kvm, qemu, hyperv, …); Arch and Machine are empty where the XML has none.
type Detection struct {
	Type       Type
	DomainType string
	Arch       string
	Machine    string
	// KubeVirt tells that the domain carries KubeVirt's metadata.
	KubeVirt bool
}

// domainXML is the part of libvirtxml.Domain that tells the hypervisor. The whole
// of it would do as well, but for its price: 256 KiB of <disk/> make 22 MiB of
// structs, in a container that is killed at 24, and one number that libvirtxml
// cannot read, in a device that is of no interest here, would hide the type.
type domainXML struct {
	XMLName  xml.Name                   `xml:"domain"`
	Type     string                     `xml:"type,attr"`
	OS       *libvirtxml.DomainOS       `xml:"os"`
	Metadata *libvirtxml.DomainMetadata `xml:"metadata"`
}

// Detect reads a domain's XML. It returns ErrXML or ErrNoType where the XML does
// not say the type, and never panics, whatever the XML.
func Detect(text string) (detection Detection, err error) {
	// The XML comes from the other side of a socket, and libvirtxml has
	// hand-written unmarshallers: a bug in one must not end the sidecar.
	defer func() {
		if p := recover(); p != nil {
			detection, err = Detection{}, fmt.Errorf("%w: %v", ErrXML, p)
		}
	}()
	var domain domainXML
	if err := xml.Unmarshal([]byte(text), &domain); err != nil {
		return Detection{}, fmt.Errorf("%w: %w", ErrXML, err)
	}
	if domain.Type == "" {
		return Detection{}, ErrNoType
	}
	detection = Detection{Type: typeOf(domain.Type), DomainType: domain.Type}
	if domain.OS != nil && domain.OS.Type != nil {
		detection.Arch, detection.Machine = domain.OS.Type.Arch, domain.OS.Type.Machine
	}
	if longest := max(len(detection.DomainType), len(detection.Arch), len(detection.Machine)); longest > maxNameLength {
		return Detection{}, fmt.Errorf("%w: a type, arch or machine of %d bytes", ErrXML, longest)
	}
	detection.KubeVirt = domain.Metadata != nil && hasKubeVirtMetadata(domain.Metadata.XML)
	return detection, nil
}

func hasKubeVirtMetadata(metadata string) bool {
	decoder := xml.NewDecoder(strings.NewReader(metadata))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if element.Name.Space == kubevirtXMLNamespace {
			return true
		}
		if err := decoder.Skip(); err != nil {
			return false
		}
	}
}

package session

// The bounds of what is taken from libvirt.
const (
	// maxXML is the longest string that libvirt sends, in bytes (REMOTE_STRING_MAX in
	// remote_protocol.x). A domain's XML is 8 kB for KubeVirt's usual domain, some 800
	// bytes more for each disk and 500 for each iothread of a disk.
	maxXML = 4 << 20
	// maxFrame bounds a packet, in bytes: the largest is a domain's XML, which is read
	// piece by piece.
	maxFrame = headerSize + 4 + maxXML
	// maxHeldFrame bounds every other packet, in bytes: it is held as a whole.
	maxHeldFrame = 256 << 10
	// maxName is more than a domain's name can have: 63 for the namespace, 253
	// for the VMI and an underscore between them.
	maxName = 1024
	// maxMessage bounds an error's text, in bytes: it ends up in the log.
	maxMessage = 4 << 10
	// maxDomains bounds a list of domains; a virt-launcher has one.
	maxDomains = 1024
	// maxLooks bounds for how many domains the state and XML are asked where none has
	// the VMI's name.
	maxLooks = 16
	// maxLasted bounds how long a state of QEMU's monitor has lasted, in milliseconds: a hundred years.
	maxLasted = 100 * 365 * 24 * 3600 * 1000
	// maxAuth bounds the list of authentication methods; libvirt knows three.
	maxAuth = 16
)

// The procedures of libvirt's remote protocol that the sidecar may call, and the
// one event that it listens to (libvirt src/remote/remote_protocol.x, enum
// remote_procedure). All of them but DOMAIN_GET_XML_DESC have high priority there:
// libvirt serves them from workers that no call into QEMU can occupy.
const (
	procConnectOpen           = 1
	procConnectClose          = 2
	procConnectGetVersion     = 4
	procDomainGetXMLDesc      = 14
	procAuthList              = 66
	procConnectGetLibVersion  = 157
	procDomainGetState        = 212
	procDomainGetControlInfo  = 229
	procConnectListAllDomains = 273
	procEventRegisterAny      = 316
	procEventLifecycle        = 318
)

var (
	domainShape = sequence(text(maxName), uuid, word)
	// eventShape is remote_domain_event_callback_lifecycle_msg: callback, domain,
	// event, detail.
	eventShape = sequence(word, domainShape, word, word)
	// errorShape is the part of remote_error that go-libvirt reads: code, origin,
	// a flag and the message behind it, level; the rest is of no interest.
	errorShape = sequence(word, word, word, text(maxMessage), word, anyEnd)
)

// replyShape is the list of what go-libvirt may call, with the shape of each one's
// reply. A procedure that is not listed is not sent; the guard itself sends one more,
// see guard.AskXML. All of them only read; the read-only flag of the connection makes
// libvirt see to that as well.
func replyShape(procedure uint32) (reply shape, allowed bool) {
	switch procedure {
	case procAuthList:
		return list(maxAuth, word), true
	case procConnectOpen, procConnectClose:
		return sequence(), true
	case procConnectGetVersion, procConnectGetLibVersion:
		return hyper, true
	case procConnectListAllDomains:
		return sequence(list(maxDomains, domainShape), word), true
	case procDomainGetControlInfo:
		return sequence(word, word, hyper), true
	case procDomainGetState:
		return sequence(word, word), true
	case procEventRegisterAny:
		return word, true
	default:
		return nil, false
	}
}

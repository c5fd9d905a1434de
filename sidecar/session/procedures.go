package session

// The bounds of what is taken from libvirt.
const (
	// maxFrame bounds a packet, in bytes, before anything is allocated for it. A
	// domain's XML is all but all of the largest one: 8 kB for KubeVirt's usual
	// domain, some 700 bytes more for each disk or interface.
	maxFrame = 256 << 10
	// maxName is more than a domain's name can have: 63 for the namespace, 253
	// for the VMI and an underscore between them.
	maxName = 1024
	// maxMessage bounds an error's text, in bytes: it ends up in the log.
	maxMessage = 4 << 10
	// maxDomains bounds a list of domains; a virt-launcher has one.
	maxDomains = 1024
	// maxLooks bounds how many domains are looked at where none has the VMI's
	// name: each brings its XML.
	maxLooks = 16
	// maxAuth bounds the list of authentication methods; libvirt knows three.
	maxAuth = 16
)

// The procedures of libvirt's remote protocol that the sidecar may call, and the
// one event that it listens to (libvirt src/remote/remote_protocol.x, enum
// remote_procedure).
const (
	procConnectOpen           = 1
	procConnectClose          = 2
	procConnectGetVersion     = 4
	procDomainGetXMLDesc      = 14
	procAuthList              = 66
	procConnectGetLibVersion  = 157
	procDomainGetState        = 212
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

// replyShape is the list of what the sidecar may call, with the shape of each
// one's reply. A procedure that is not listed is not sent. All of them only read;
// the read-only flag of the connection makes libvirt see to that as well.
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
	case procDomainGetState:
		return sequence(word, word), true
	case procDomainGetXMLDesc:
		return text(maxFrame), true
	case procEventRegisterAny:
		return word, true
	default:
		return nil, false
	}
}

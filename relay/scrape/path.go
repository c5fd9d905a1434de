package scrape

import (
	"strings"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

const (
	pathPrefix = "/pods/"
	pathSuffix = "/metrics"
)

// IsPath tells whether an escaped URL path is one of a pod's: whether it begins
// with /pods/.
func IsPath(escaped string) bool { return strings.HasPrefix(escaped, pathPrefix) }

// ParsePath takes the uid out of an escaped URL path, /pods/{uid}/metrics and
// nothing else: what would have to be unescaped or cleaned is no uid.
func ParsePath(escaped string) (podsocket.UID, bool) {
	rest, found := strings.CutPrefix(escaped, pathPrefix)
	text, suffixed := strings.CutSuffix(rest, pathSuffix)
	if !found || !suffixed {
		return "", false
	}
	uid, err := podsocket.ParseUID(text)
	return uid, err == nil
}

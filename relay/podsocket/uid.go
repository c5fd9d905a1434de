package podsocket

import (
	"fmt"

	"github.com/google/uuid"
)

// A UID is a pod's uid in canonical form: 36 characters of lower-case hexadecimal
// digits and dashes. It is safe as a name of a file.
type UID string

// ParseUID takes the canonical form only. The kubelet names no folder by
// another spelling of a UUID (upper case, braces, urn:, no dashes).
func ParseUID(text string) (UID, error) {
	parsed, err := uuid.Parse(text)
	if err != nil || parsed.String() != text {
		return "", fmt.Errorf("%.40q is not a pod uid: it must be a UUID in lower case with dashes", text)
	}
	return UID(text), nil
}

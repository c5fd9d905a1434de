//go:build !linux

package exposition

import (
	"errors"
	"syscall"
)

// bindToDevice is for Linux, where every sidecar runs. The kubectl plugin, which has the names of the metrics from this package,
// runs elsewhere, too.
func bindToDevice(syscall.RawConn, string) error { return errors.ErrUnsupported }

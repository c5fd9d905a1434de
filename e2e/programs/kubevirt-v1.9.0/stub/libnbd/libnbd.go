// Package libnbd is a local stand-in: every call fails. Only incremental backup's NBD export uses it.
package libnbd

import "errors"

const (
	CONTEXT_BASE_ALLOCATION   = "base:allocation"
	CONTEXT_QEMU_DIRTY_BITMAP = "qemu:dirty-bitmap:"
	STATE_HOLE                = 1
	STATE_ZERO                = 2
	STATE_DIRTY               = 1
)

var errNo = errors.New("libnbd is not built into this binary")

type LibnbdExtent struct{ Length, Flags uint64 }
type Libnbd struct{}
type BlockStatus64Optargs struct{}
type PreadOptargs struct{}
type Extent64Callback func(metacontext string, offset uint64, entries []LibnbdExtent, nbdErr *int) int

func Create() (*Libnbd, error)                            { return nil, errNo }
func (*Libnbd) Close() error                              { return nil }
func (*Libnbd) AddMetaContext(string) error               { return errNo }
func (*Libnbd) CanMetaContext(string) (bool, error)       { return false, errNo }
func (*Libnbd) SetExportName(string) error                { return errNo }
func (*Libnbd) ConnectUnix(string) error                  { return errNo }
func (*Libnbd) GetSize() (uint64, error)                  { return 0, errNo }
func (*Libnbd) Pread([]byte, uint64, *PreadOptargs) error { return errNo }
func (*Libnbd) BlockStatus64(uint64, uint64, Extent64Callback, *BlockStatus64Optargs) error {
	return errNo
}

package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Needs is what the process uses after its start.
type Needs struct {
	// Replaced are files that others replace while the process runs, as the kubelet
	// does with those of a Secret: everything in their folders can be read, and in
	// the folders that links lead to. A folder that is not there yet opens the nearest
	// one above it that is.
	Replaced []string
	// Read are files and folders to read, with all that is below. What does not exist is
	// left out.
	Read []string
	// Connect are the TCP ports to connect to, on any address.
	Connect []uint16
}

// ErrUnsupported says that the kernel has no Landlock, that it was not enabled at boot, or
// that a seccomp profile forbids it.
var ErrUnsupported = errors.New("landlock is not available")

// restricted is what is given up. It leaves out, by intent, the right to connect to Unix
// sockets by path (ABI 9) and UDP (ABI 10), which resolving names uses; and signals (ABI 6): the
// threads of a Go program send them to each other, and the relay, without CAP_KILL and in a
// process namespace of its own, can send them to no one else.
var restricted = landlock.Config{
	HandledAccessFS:  landlock.V5.HandledAccessFS,
	HandledAccessNet: landlock.V5.HandledAccessNet,
	Scoped:           kernel.ScopeAbstractUnixSocket,
}

// Apply gives up all other rights for the process, for good. It returns the version of
// Landlock's ABI in the kernel, which says what of the package's list is enforced. An error means that
// nothing was given up, and is [ErrUnsupported] where the kernel cannot.
func (n Needs) Apply() (abi int, err error) {
	abi, err = kernel.LandlockGetABIVersion()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err := n.enforce(); err != nil {
		return abi, fmt.Errorf("confine the process: %w", err)
	}
	return abi, nil
}

// Readable lists the files and folders that Apply leaves readable, sorted.
func (n Needs) Readable() []string {
	var paths []string
	for _, file := range n.Replaced {
		paths = append(paths, folders(file)...)
	}
	for _, path := range n.Read {
		if _, err := os.Stat(path); err == nil {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// folders returns the file's folder, and that of what it links to where that is outside.
func folders(file string) []string {
	found := []string{existing(filepath.Dir(file))}
	if target, err := filepath.EvalSymlinks(file); err == nil {
		folder, err := filepath.EvalSymlinks(found[0])
		if relative, inside := filepath.Rel(folder, target); err != nil || inside != nil || !filepath.IsLocal(relative) {
			found = append(found, filepath.Dir(target))
		}
	}
	return found
}

// existing returns the folder, or the nearest one above it that exists.
func existing(folder string) string {
	for {
		if _, err := os.Stat(folder); err == nil || folder == filepath.Dir(folder) {
			return folder
		}
		folder = filepath.Dir(folder)
	}
}

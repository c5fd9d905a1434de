// Package confine gives up, with Linux' Landlock, every right to files and ports that
// the relay does not use. A taken-over relay can then do only what the relay does
// anyway, as far as the kernel can enforce it.
//
// After [Needs.Apply] the process, in all its threads:
//
//   - creates, writes, renames, links and deletes nothing, wherever it is, and truncates nothing
//     (Linux 6.2);
//   - reads and executes nothing but what is listed in [Needs];
//   - binds no TCP port and connects to no TCP port but the listed ones (Linux 6.7,
//     see below);
//   - connects to no abstract Unix socket of another process (Linux 6.12).
//
// What Landlock does not restrict (kernel documentation, userspace-api/landlock):
//
//   - Finding a file: stat(2) and open(2) with O_PATH.
//   - Connecting to a Unix socket that has a path, which is how the relay scrapes.
//     ABI 9 can restrict that; the right is not among those that we give up, so a newer
//     kernel changes nothing here.
//   - Changing a file's mode, owner, times and attributes: for that the mount must be
//     read-only.
//   - Multipath TCP and UDP. A connection that our own code could be led to make uses
//     plain TCP; foreign code could choose.
//
// go-landlock rather than three system calls of our own: it applies them to all threads of
// a program with cgo and without, and knows the features of each kernel's Landlock. Only the rules
// for paths are ours: see allow.
package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Needs is what the process uses after its start.
type Needs struct {
	// Replaced are files that others replace while the process runs, as the kubelet
	// does with those of a Secret: everything in their folders can be read, and in
	// the folders that links lead to. For a folder that does not exist yet, that is the nearest
	// folder above it that exists.
	Replaced []string
	// Read are files and folders to read, with all that is below. What does not exist is
	// left out.
	Read []string
	// Connect are the TCP ports to connect to, on any address.
	Connect []uint16
}

// ErrUnsupported: the kernel has no Landlock, it was not enabled at boot, or
// a seccomp profile forbids it.
var ErrUnsupported = errors.New("landlock is not available")

// restricted is what is given up. It leaves out, on purpose, the right to connect to Unix
// sockets by path (ABI 9) and UDP (ABI 10), which resolving names uses; and signals (ABI 6): the
// threads of a Go program send them to each other, and the relay, without CAP_KILL and in a
// process namespace of its own, can send them to no one else.
var restricted = landlock.Config{
	HandledAccessFS:  landlock.V5.HandledAccessFS,
	HandledAccessNet: landlock.V5.HandledAccessNet,
	Scoped:           kernel.ScopeAbstractUnixSocket,
}

// Apply gives up all other rights for the process, for good. It returns the version of
// Landlock's ABI in the kernel, which decides what of the package's list is enforced. An error means that
// nothing was given up; it is [ErrUnsupported] if the kernel cannot do it.
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

// folders returns the file's folder, and that of what it links to if that is outside.
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

// enforce gives up everything but the needs, in all threads.
func (n Needs) enforce() error {
	var ports []landlock.Rule
	for _, port := range n.Connect {
		ports = append(ports, landlock.ConnectTCP(port))
	}
	ruleset, flags, err := restricted.BestEffort().NewRulesetFD(ports...)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ruleset) }() // written to by system calls alone
	// libpsx, which makes the calls in all threads of a program with cgo, reads this folder between them
	// (go-landlock's issue 39).
	if err := allow(ruleset, "/proc/self/task"); err != nil {
		return err
	}
	for _, path := range n.Readable() {
		if err := allow(ruleset, path); err != nil {
			return err
		}
	}
	if err := kernel.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := kernel.AllThreadsLandlockRestrictSelf(ruleset, flags); err != nil {
		return fmt.Errorf("landlock_restrict_self: %w", err)
	}
	return nil
}

// allow lets a file, or a folder and what is below it, be read; a path that does not exist is left out. It is not
// go-landlock's PathAccess, which declares the kernel's parent_fd, 32 bits (linux/landlock.h), as an int: a big-endian
// kernel (s390x) reads the upper half of it, 0, and refuses the rule.
func allow(ruleset int, path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }() // O_PATH: nothing was written
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("stat %s: %w", path, err)
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: kernel.AccessFSReadFile, Parent_fd: int32(fd)}
	if stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		rule.Allowed_access |= kernel.AccessFSReadDir // which the kernel refuses on a file
	}
	if err := kernel.LandlockAddRule(ruleset, kernel.RuleTypePathBeneath, unsafe.Pointer(&rule), 0); err != nil {
		return fmt.Errorf("landlock_add_rule for %s: %w", path, err)
	}
	return nil
}

package confine

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	kernel "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// enforce gives up all but the needs, in all threads.
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
	// libpsx, which takes the calls in all threads of a program with cgo, reads this folder between them
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

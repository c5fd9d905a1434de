package podsocket

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// An opener finds a path below a directory and returns a descriptor that names
// what is there without opening it (O_PATH). It follows no link and does not leave
// the directory.
type opener func(dir int, path string) (int, error)

// openat2 lets the kernel enforce the rules (openat2(2), Linux 5.6).
func openat2(dir int, path string) (int, error) {
	how := &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	return retry(func() (int, error) { return unix.Openat2(dir, path, how) })
}

// walk does the same one component after the other. No component is "..", absolute
// or followed if it is a link, so each step ends directly below the one before; a
// directory that is moved meanwhile stays the directory that was found.
func walk(dir int, path string) (int, error) {
	at, last := dir, strings.Count(path, "/")
	for i, name := range strings.Split(path, "/") {
		if name == "" || name == "." || name == ".." {
			return -1, unix.EXDEV
		}
		flags := unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
		if i < last {
			flags |= unix.O_DIRECTORY
		}
		next, err := retry(func() (int, error) { return unix.Openat(at, name, flags, 0) })
		if at != dir {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}

// usable returns an error if the kernel does not let us call openat2. A seccomp profile older
// than the call answers ENOSYS or, with runc before 1.0, EPERM.
func usable(open opener) error {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	fd, err := open(root, ".")
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// retry goes on after a signal.
func retry(call func() (int, error)) (int, error) {
	for {
		fd, err := call()
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

package libvirttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// launcher starts processes from one thread of its own, for two reasons. As root
// it gives that thread a private mount namespace, in which the machine's /dev/kvm
// opens for any uid and the session's uid has an account; the machine itself stays
// as it is. And a parent-death signal is bound to the thread that forked
// (prctl(2)): this one lives until stop.
type launcher struct {
	jobs chan func()
	done chan struct{}
}

// startLauncher makes the thread; mount is the private mount point it may make.
func startLauncher(mount string, uid, gid int) (*launcher, error) {
	l := &launcher{jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		defer close(l.done)
		// Never unlocked: a thread in another namespace must end with its goroutine.
		runtime.LockOSThread()
		ready <- privateMounts(mount, uid, gid)
		for job := range l.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		l.stop()
		return nil, err
	}
	return l, nil
}

// do runs job on the launcher's thread and waits for it.
func (l *launcher) do(job func() error) error {
	result := make(chan error, 1)
	l.jobs <- func() { result <- job() }
	return <-result
}

// stop ends the thread, and with it, by their parent-death signal, what it started.
func (l *launcher) stop() {
	close(l.jobs)
	<-l.done
}

// privateMounts prepares the calling thread's own view of the machine. Without root
// there is nothing it could do, and nothing to do: the current user has an account.
func privateMounts(mount string, uid, gid int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"make folder", func() error { return os.Mkdir(mount, 0o755) }},
		{"unshare mount namespace", func() error { return syscall.Unshare(syscall.CLONE_NEWNS) }},
		{"make mounts private", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		// A tmpfs of our own: the temporary folder may be mounted nodev.
		{"mount tmpfs", func() error { return syscall.Mount("tmpfs", mount, "tmpfs", 0, "size=1m,mode=0755") }},
		{kvmDevice, func() error { return privateKVM(filepath.Join(mount, "kvm")) }},
		{"/etc/passwd", func() error {
			return privateAccounts("/etc/passwd", filepath.Join(mount, "passwd"), uid, fmt.Sprintf("qemu:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", uid, gid))
		}},
		{"/etc/group", func() error {
			return privateAccounts("/etc/group", filepath.Join(mount, "group"), gid, fmt.Sprintf("qemu:x:%d:\n", gid))
		}},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("private mounts of libvirtd: %s: %w", step.what, err)
		}
	}
	return nil
}

// privateKVM lays a copy of the KVM device with mode 0666 over /dev/kvm, if there is one.
func privateKVM(node string) error {
	info, err := os.Stat(kvmDevice)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Mknod(node, syscall.S_IFCHR, int(info.Sys().(*syscall.Stat_t).Rdev)); err != nil {
		return err
	}
	return errors.Join(os.Chmod(node, 0o666), syscall.Mount(node, kvmDevice, "", syscall.MS_BIND, ""))
}

// privateAccounts adds a line to an account file if it has none for id: libvirt
// refuses a user it finds no record for ("Failed to find user record for uid '107'").
func privateAccounts(file, private string, id int, line string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for have := range bytes.Lines(text) {
		if fields := bytes.Split(bytes.TrimSpace(have), []byte(":")); len(fields) > 2 && string(fields[2]) == fmt.Sprint(id) {
			return nil
		}
	}
	if err := os.WriteFile(private, append(text, line...), 0o644); err != nil {
		return err
	}
	return syscall.Mount(private, file, "", syscall.MS_BIND, "")
}

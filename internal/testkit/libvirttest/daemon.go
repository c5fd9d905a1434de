// Package libvirttest starts real session libvirtds with real QEMU guests in
// temporary folders, as net/http/httptest does with HTTP servers.
//
// A Daemon is what a virt-launcher pod has: a session libvirtd of uid 107 whose
// socket is named virtqemud-sock. A Guest becomes one domain of it, named and
// shaped as KubeVirt does it, and Domain is the handle to act on it.
package libvirttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

const (
	// QEMUUser is the uid and gid of KubeVirt's virt-launcher (pkg/util/util.go NonRootUID).
	QEMUUser = 107
	libvirtd = "/usr/sbin/libvirtd"
	emulator = "/usr/bin/qemu-system-x86_64"
)

// startScript runs libvirtd as root would have to prepare it: in a mount namespace of its own,
// in which /dev/kvm opens for any uid and the session's uid has an account, without which libvirt
// refuses it ("Failed to find user record for uid '107'"). Post-copy needs userfaultfd, which
// vm.unprivileged_userfaultfd=0 (the kernel's default) grants with CAP_SYS_PTRACE only; QEMU inherits it.
const startScript = `mount -t tmpfs -o size=1m,mode=0755 tmpfs "$1"
if [ -e /dev/kvm ]; then cp -a /dev/kvm "$1"; chmod 0666 "$1/kvm"; mount --bind "$1/kvm" /dev/kvm; fi
cp /etc/passwd /etc/group "$1"
echo "qemu:x:$2:$2::/nonexistent:/usr/sbin/nologin" >>"$1/passwd"; mount --bind "$1/passwd" /etc/passwd
echo "qemu:x:$2:" >>"$1/group"; mount --bind "$1/group" /etc/group
uid=$2; shift 2
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --inh-caps +sys_ptrace --ambient-caps +sys_ptrace --pdeathsig KILL "$@"`

// Daemon is a running session libvirtd with the folder it lives in.
// Its methods may be called from several goroutines, but not during Close.
type Daemon struct {
	folder folder
	uid    int
	reaper *reaper
	close  func() error

	mu      sync.Mutex
	process *testkit.Process
}

// New starts a Daemon that ends with the test, and shows its log if the test failed.
func New(t testing.TB) *Daemon {
	t.Helper()
	d, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of libvirtd %s:\n%s", d.folder, d.log())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Start runs a libvirtd and returns when its socket takes connections. It runs as QEMUUser if this
// process is root, otherwise as the current user. The caller must Close it. ctx bounds the start only.
func Start(ctx context.Context) (*Daemon, error) {
	if _, err := os.Stat(libvirtd); err != nil {
		return nil, fmt.Errorf("%w; install with: apt-get install -y --no-install-recommends "+
			"libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 util-linux", err)
	}
	sweep()
	d := &Daemon{uid: os.Getuid()}
	if d.uid == 0 {
		d.uid = QEMUUser
	}
	var err error
	if d.folder, err = newFolder(d.uid); err != nil {
		return nil, err
	}
	if d.reaper, err = startReaper(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(d.folder)))
	}
	d.close = sync.OnceValue(d.tearDown)
	if err := d.Restart(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Socket is the path of the socket, named as KubeVirt's virtqemud names it.
func (d *Daemon) Socket() string { return filepath.Join(d.folder.sockets(), "virtqemud-sock") }

// uri leads libvirt clients to the daemon.
func (d *Daemon) uri() string { return "qemu+unix:///session?socket=" + d.Socket() }

// UID is the user of libvirtd and its guests.
func (d *Daemon) UID() int { return d.uid }

// log is what libvirtd has warned of so far.
func (d *Daemon) log() string {
	text, _ := os.ReadFile(d.folder.log())
	return string(text)
}

// Stop freezes libvirtd: its socket takes connections, but nothing answers.
func (d *Daemon) Stop() error { return d.current().Signal(syscall.SIGSTOP) }

// Cont ends Stop.
func (d *Daemon) Cont() error { return d.current().Signal(syscall.SIGCONT) }

// Kill ends libvirtd at once, and returns when it is gone. Its guests live on, and
// the socket's file stays; see Restart.
func (d *Daemon) Kill() error {
	if process := d.current(); process != nil {
		process.Kill()
	}
	return nil
}

func (d *Daemon) current() *testkit.Process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process
}

// Restart starts libvirtd again (after killing one that runs) on the same folder: it
// finds its guests again. It returns when the socket takes connections.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Kill(); err != nil {
		return err
	}
	cmd := exec.Command(libvirtd)
	if os.Geteuid() == 0 {
		cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", startScript, "sh",
			d.folder.mount(), fmt.Sprint(d.uid), libvirtd)
	}
	cmd.Env, cmd.Dir = d.folder.environ(), string(d.folder)
	process, err := testkit.Start(filepath.Join(string(d.folder), "output"), cmd)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.process = process
	d.mu.Unlock()
	if err := d.awaitSocket(ctx, process); err != nil {
		return fmt.Errorf("start libvirtd: %w\n%s%s", err, process.LogTail(), d.log())
	}
	return nil
}

// awaitSocket waits until libvirtd listens, and renames its socket as virtqemud's:
// Debian 12 has only the monolithic daemon, which differs in nothing else here.
func (d *Daemon) awaitSocket(ctx context.Context, process *testkit.Process) error {
	ctx, cancel := context.WithTimeout(ctx, testkit.Patience)
	defer cancel()
	bound := filepath.Join(d.folder.sockets(), "libvirt-sock")
	return poll(ctx, process.Ended(), "libvirtd did not listen", func() (string, bool) {
		conn, err := net.Dial("unix", bound)
		if err != nil {
			return err.Error(), false
		}
		_ = conn.Close()
		return "", os.Rename(bound, d.Socket()) == nil
	})
}

// poll asks until it is done, ended is closed or ctx ends.
func poll(ctx context.Context, ended <-chan struct{}, complaint string, ask func() (answer string, done bool)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, done := ask()
		if done {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("%s before the end: %s", complaint, answer)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", complaint, ctx.Err(), answer)
		}
	}
}

// Virsh runs one virsh command on the daemon, as its user, and returns what it
// printed. When ctx ends, virsh is killed, and what it waited for goes on.
func (d *Daemon) Virsh(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "/usr/bin/virsh", append([]string{"-q", "-c", d.uri()}, args...)...)
	cmd.Env, cmd.Dir = d.folder.environ(), string(d.folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for the test, which then closes in order
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.uid)}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("virsh %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// Close kills libvirtd and all its guests, also stopped ones, and removes the
// folder. It may be called again, and then returns the same.
func (d *Daemon) Close() error { return d.close() }

func (d *Daemon) tearDown() error {
	_ = d.Kill()
	killAll(processesOf(d.folder))
	d.reaper.stop()
	return os.RemoveAll(string(d.folder))
}

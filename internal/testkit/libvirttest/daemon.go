package libvirttest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// QEMUUser is the uid and gid of KubeVirt's virt-launcher (pkg/util/util.go NonRootUID).
const QEMUUser = 107

// capSysPtrace is CAP_SYS_PTRACE (linux/capability.h).
const capSysPtrace = 19

// startTimeout is how long libvirtd may take to answer; 0.2 s is usual.
const startTimeout = 30 * time.Second

// Options of Start; the zero value is good.
type Options struct {
	// UID is who libvirtd runs as (and its gid), if this process is root.
	// 0 means QEMUUser. Without root it is always the current user.
	UID int
}

// Daemon is a running session libvirtd with the folder it lives in.
// Its methods may be called from several goroutines, but not during Close.
type Daemon struct {
	folder   folder
	uid, gid int
	launcher *launcher
	reaper   *reaper
	close    func() error

	mu      sync.Mutex
	process *os.Process
	exited  chan struct{}
}

// Start runs a libvirtd and returns when its socket takes connections. The caller must Close
// it. ctx bounds the start only.
func Start(ctx context.Context, options Options) (*Daemon, error) {
	if err := checkPrograms(); err != nil {
		return nil, err
	}
	sweep()
	d := &Daemon{uid: os.Getuid(), gid: os.Getgid()}
	if d.uid == 0 {
		d.uid = options.UID
		if d.uid == 0 {
			d.uid = QEMUUser
		}
		d.gid = d.uid
	}
	var err error
	if d.folder, err = newFolder(d.uid, d.gid); err != nil {
		return nil, err
	}
	d.close = sync.OnceValue(d.tearDown)
	if d.reaper, err = startReaper(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(string(d.folder)))
	}
	if d.launcher, err = startLauncher(filepath.Join(string(d.folder), "mnt"), d.uid, d.gid); err != nil {
		d.reaper.stop()
		return nil, errors.Join(err, os.RemoveAll(string(d.folder)))
	}
	if err := d.Restart(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Socket is the path of the socket, named as KubeVirt's virtqemud names it.
func (d *Daemon) Socket() string { return filepath.Join(d.folder.sockets(), "virtqemud-sock") }

// URI leads libvirt clients to the daemon.
func (d *Daemon) URI() string { return "qemu+unix:///session?socket=" + d.Socket() }

// Folder is where the daemon keeps its files; Close removes it.
func (d *Daemon) Folder() string { return string(d.folder) }

// UID is who libvirtd and its guests run as.
func (d *Daemon) UID() int { return d.uid }

// Log is what libvirtd has warned of so far, to be shown when a test fails.
func (d *Daemon) Log() string {
	text, _ := os.ReadFile(d.folder.log())
	return string(text)
}

// Pid is libvirtd's process id, of the last one if it was killed.
func (d *Daemon) Pid() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.process.Pid
}

// Stop freezes libvirtd: its socket takes connections, but nothing answers.
func (d *Daemon) Stop() error { return d.signal(syscall.SIGSTOP) }

// Cont ends Stop.
func (d *Daemon) Cont() error { return d.signal(syscall.SIGCONT) }

// Kill ends libvirtd at once, and returns when it is gone. Its guests live on, and
// the socket's file stays; see Restart.
func (d *Daemon) Kill() error {
	if err := d.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	d.mu.Lock()
	exited := d.exited
	d.mu.Unlock()
	if exited != nil {
		<-exited
	}
	return nil
}

func (d *Daemon) signal(sig syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.process == nil {
		return os.ErrProcessDone
	}
	if err := d.process.Signal(sig); err != nil {
		return fmt.Errorf("libvirtd: %w", err)
	}
	return nil
}

// Restart starts libvirtd again (after killing one that runs) on the same folder: it
// finds its guests again. It returns when the socket takes connections.
func (d *Daemon) Restart(ctx context.Context) error {
	if err := d.Kill(); err != nil {
		return err
	}
	cmd := d.command("/usr/sbin/libvirtd")
	// Setpgid: a Ctrl-C in the terminal is for the test, which then closes in order.
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if cmd.SysProcAttr.Credential != nil {
		// Post-copy needs userfaultfd, which vm.unprivileged_userfaultfd=0 (the
		// kernel's default) grants with this capability only. QEMU inherits it.
		cmd.SysProcAttr.AmbientCaps = []uintptr{capSysPtrace}
	}
	if err := d.launcher.do(cmd.Start); err != nil {
		return fmt.Errorf("start libvirtd: %w", err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	d.mu.Lock()
	d.process, d.exited = cmd.Process, exited
	d.mu.Unlock()
	if err := d.awaitSocket(ctx, exited); err != nil {
		return fmt.Errorf("start libvirtd: %w\n%s", err, d.Log())
	}
	return nil
}

// command runs a program as the daemon's user, in the daemon's environment.
func (d *Daemon) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = d.folder.environ(), string(d.folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(d.uid), Gid: uint32(d.gid)}
	}
	return cmd
}

// awaitSocket waits until libvirtd listens, and gives its socket virtqemud's name:
// Debian 12 has only the monolithic daemon, which differs in nothing else here.
func (d *Daemon) awaitSocket(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	bound := filepath.Join(d.folder.sockets(), "libvirt-sock")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("unix", bound); err == nil {
			return errors.Join(conn.Close(), os.Rename(bound, d.Socket()))
		}
		select {
		case <-tick.C:
		case <-exited:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("no socket: %w", ctx.Err())
		}
	}
}

// Close kills libvirtd and all its guests, also stopped ones, and removes the
// folder. It may be called again, and then tells the same.
func (d *Daemon) Close() error { return d.close() }

func (d *Daemon) tearDown() error {
	_ = d.Kill()
	killAll(processesOf(d.folder))
	saveCapabilities(d.folder)
	d.launcher.stop()
	d.reaper.stop()
	return os.RemoveAll(string(d.folder))
}

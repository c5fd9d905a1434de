package libvirttest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folderPrefix is short: a unix socket's path has at most 107 characters, and
// libvirt adds up to 60 of its own for a guest's monitor.
const folderPrefix = "lvt-"

// Settings of the session. Security drivers, namespaces and virtlogd need root or
// a system bus; a cleared capability set would cost QEMU the post-copy of migration.go.
const (
	qemuConf = `stdio_handler = "file"
security_driver = "none"
namespaces = []
clear_emulator_capabilities = 0
vnc_tls = 0
`
	libvirtdConf = `auth_unix_rw = "none"
auth_unix_ro = "none"
log_level = 3
log_outputs = "3:file:%s"
`
)

// folder is where one Daemon keeps everything.
type folder string

func (f folder) run() string     { return filepath.Join(string(f), "run") }
func (f folder) config() string  { return filepath.Join(string(f), "config") }
func (f folder) cache() string   { return filepath.Join(string(f), "cache") }
func (f folder) guests() string  { return filepath.Join(string(f), "guests") }
func (f folder) mount() string   { return filepath.Join(string(f), "mnt") }
func (f folder) log() string     { return filepath.Join(string(f), "libvirtd.log") }
func (f folder) sockets() string { return filepath.Join(f.run(), "libvirt") }

// environ is the whole environment of libvirtd and virsh. The bus address leads nowhere,
// so that they do not talk to the machine's own services.
func (f folder) environ() []string {
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
		"HOME=" + string(f),
		"XDG_RUNTIME_DIR=" + f.run(),
		"XDG_CONFIG_HOME=" + f.config(),
		"XDG_CACHE_HOME=" + f.cache(),
		"XDG_DATA_HOME=" + filepath.Join(string(f), "data"),
		"DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + filepath.Join(string(f), "no-bus"),
		"DBUS_SESSION_BUS_ADDRESS=unix:path=" + filepath.Join(string(f), "no-bus"),
	}
}

// newFolder makes and fills the folder and gives it to the uid. Its name shows
// the process it belongs to, for sweep.
func newFolder(uid int) (folder, error) {
	dir, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("temporary folder of the session libvirtd: %w", err)
	}
	f := folder(dir)
	if err := f.fill(uid); err != nil {
		return "", fmt.Errorf("fill the folder of the session libvirtd: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	return f, nil
}

func (f folder) fill(uid int) error {
	conf, qemu := filepath.Join(f.config(), "libvirt"), filepath.Join(f.cache(), "libvirt/qemu/cache")
	// What libvirt finds out about a QEMU takes it 4 s, so all daemons share it. libvirt itself checks that it is not
	// stale: it compares the versions, times of change, kernel and KVM (qemu_capabilities.c, virQEMUCapsIsValid).
	shared := filepath.Join(os.TempDir(), fmt.Sprint("libvirttest-capabilities-", uid))
	for _, dir := range []string{f.sockets(), conf, qemu, f.guests(), f.mount(), shared} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	for name, text := range map[string]string{"qemu.conf": qemuConf, "libvirtd.conf": fmt.Sprintf(libvirtdConf, f.log())} {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	err := filepath.WalkDir(string(f), func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, uid, uid))
	})
	return errors.Join(err, os.Lchown(shared, uid, uid), os.Symlink(shared, filepath.Join(qemu, "capabilities")))
}

// sweep clears what killed runs have left: folders whose process is
// gone, and the QEMUs that live in them.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*-*"))
	for _, dir := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), folderPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		killAll(processesOf(folder(dir)))
		_ = os.RemoveAll(dir)
	}
}

// processesOf lists the processes that belong to a folder: libvirtd by its
// environment, QEMU (which libvirt starts in a session of its own) by its command line.
func processesOf(f folder) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if mentions(pid, "environ", "XDG_RUNTIME_DIR="+f.run()+"\x00") || mentions(pid, "cmdline", string(f)+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func mentions(pid int, file, text string) bool {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	return err == nil && bytes.Contains(data, []byte(text))
}

// killAll kills and waits until the processes are gone (a stopped one dies as well).
func killAll(pids []int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, pid := range pids {
		for alive(pid) && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// alive is false for zombies, too: they hold nothing any more.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, after, found := bytes.Cut(stat, []byte(") "))
	return found && len(after) > 0 && after[0] != 'Z' && after[0] != 'X'
}

package libvirttest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// folderPrefix is short: a unix socket's path has at most 107 characters, and
// libvirt adds up to 60 of its own for a guest's monitor.
const folderPrefix = "lvt-"

// Settings of the session. Security drivers, namespaces and virtlogd want root or
// a system bus; a cleared capability set would cost QEMU the post-copy of migrate.go.
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
func (f folder) log() string     { return filepath.Join(string(f), "libvirtd.log") }
func (f folder) sockets() string { return filepath.Join(f.run(), "libvirt") }

// environ is all that libvirtd and virsh get to see. The bus address leads nowhere,
// so that nothing of the machine's is asked or told.
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

// newFolder makes and fills the folder and gives it to uid and gid. Its name tells
// the process it belongs to, for sweep.
func newFolder(uid, gid int) (folder, error) {
	dir, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("temporary folder of the session libvirtd: %w", err)
	}
	f := folder(dir)
	if err := f.fill(uid, gid); err != nil {
		return "", fmt.Errorf("fill the folder of the session libvirtd: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	return f, nil
}

func (f folder) fill(uid, gid int) error {
	conf := filepath.Join(f.config(), "libvirt")
	for _, dir := range []string{f.sockets(), conf, f.cache(), f.guests()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	loadCapabilities(f)
	files := map[string]string{"qemu.conf": qemuConf, "libvirtd.conf": fmt.Sprintf(libvirtdConf, f.log())}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(conf, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return filepath.WalkDir(string(f), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
}

// sweep clears what runs that were killed left behind: folders whose process is
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

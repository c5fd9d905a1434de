package confine_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/internal/testkit/podtest"
	"kubevirt-hypervisor-exporter/relay/confine"
)

const (
	allowed = "ok"
	refused = "EACCES"
)

// TestNothingIsWritable: each way to change what is in a folder is refused, in the pods' folder, in the folders
// that can be read and elsewhere. The test runs as the files' owner, who may do all of it unconfined.
func TestNothingIsWritable(t *testing.T) {
	pods, secret, other := t.TempDir(), newSecret(t), t.TempDir()
	secret.swap(t, "first")
	process := start(t, confine.Needs{Replaced: []string{secret.file}})
	folders := []string{pods, filepath.Dir(secret.file), other, t.TempDir()}
	if os.Getuid() == 0 {
		folders = append(folders, mountBelow(t, pods))
	}
	for _, folder := range folders {
		file := filepath.Join(folder, "file")
		require.NoError(t, os.WriteFile(file, []byte("kept"), 0o666))
		for _, do := range []string{"write", "delete", "rename", "link"} {
			process.want(t, refused, do, file)
		}
		if process.abi >= 3 {
			process.want(t, refused, "truncate", file)
		}
		for _, do := range []string{"create", "mkdir", "symlink", "mkfifo"} {
			process.want(t, refused, do, filepath.Join(folder, "new"))
		}
		empty := filepath.Join(folder, "empty")
		require.NoError(t, os.Mkdir(empty, 0o777))
		process.want(t, refused, "delete", empty)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "kept", string(content))
	}
}

// TestReadable: what is listed and what is added below it later can be read, nothing else, and
// nothing can be executed.
func TestReadable(t *testing.T) {
	secret, folder, single := newSecret(t), t.TempDir(), filepath.Join(t.TempDir(), "single")
	secret.swap(t, "first")
	require.NoError(t, os.WriteFile(single, nil, 0o600))
	process := start(t, confine.Needs{Replaced: []string{secret.file}, Read: []string{folder, single, "/proc", "/nowhere"}})
	process.want(t, allowed, "read", secret.file)
	secret.swap(t, "second")
	process.want(t, allowed, "read", secret.file)
	process.want(t, allowed, "read", single)
	process.want(t, allowed, "list", folder)
	process.want(t, allowed, "list", "/proc/self/fd")
	below := filepath.Join(folder, "a", "b")
	require.NoError(t, os.MkdirAll(filepath.Dir(below), 0o700))
	require.NoError(t, os.WriteFile(below, nil, 0o600))
	process.want(t, allowed, "read", below)

	beside := filepath.Join(filepath.Dir(single), "beside")
	require.NoError(t, os.WriteFile(beside, nil, 0o644))
	for _, path := range []string{beside, "/etc/passwd"} {
		process.want(t, refused, "read", path)
	}
	process.want(t, refused, "list", "/")
	process.want(t, refused, "list", filepath.Dir(single))
	process.want(t, refused, "execute", "/bin/true")

	t.Run("a link that leads out is not followed", func(t *testing.T) {
		out := filepath.Join(folder, "out")
		require.NoError(t, os.Symlink("/etc/passwd", out))
		process.want(t, refused, "read", out)
	})
}

// TestFoldersOfReplacedFiles: a file that comes later can be read, and one that is a link to another folder.
func TestFoldersOfReplacedFiles(t *testing.T) {
	root := t.TempDir()
	archive, live := filepath.Join(root, "archive"), filepath.Join(root, "live")
	require.NoError(t, os.Mkdir(archive, 0o700))
	require.NoError(t, os.Mkdir(live, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(archive, "1"), nil, 0o600))
	link := filepath.Join(live, "tls.crt")
	require.NoError(t, os.Symlink("../archive/1", link))
	later := filepath.Join(root, "later")
	require.NoError(t, os.Mkdir(later, 0o700))

	needs := confine.Needs{Replaced: []string{link, filepath.Join(later, "folder", "file")}}
	require.Equal(t, []string{archive, later, live}, needs.Readable())
	process := start(t, needs)
	process.want(t, allowed, "read", link)
	require.NoError(t, os.WriteFile(filepath.Join(archive, "2"), nil, 0o600))
	require.NoError(t, os.Symlink("../archive/2", link+".new"))
	require.NoError(t, os.Rename(link+".new", link))
	process.want(t, allowed, "read", link)
	require.NoError(t, os.Mkdir(filepath.Join(later, "folder"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(later, "folder", "file"), nil, 0o600))
	process.want(t, allowed, "read", filepath.Join(later, "folder", "file"))
}

// TestSocketsByPath: sockets of pods, those that come later included, are found and connected to without any right.
func TestSocketsByPath(t *testing.T) {
	kubelet := podtest.Kubelet{Dir: t.TempDir()}
	process := start(t, confine.Needs{})
	for range 2 {
		pod, err := kubelet.AddPod()
		require.NoError(t, err)
		listener, err := pod.Listen()
		require.NoError(t, err)
		defer listener.Close()
		process.want(t, allowed, "find", pod.Socket())
		short := filepath.Join(os.TempDir(), fmt.Sprintf("confine-%d", os.Getpid()))
		require.NoError(t, os.Symlink(pod.Volume, short)) // unix(7): a path has 108 bytes
		process.want(t, allowed, "connect-unix", filepath.Join(short, "metrics.sock"))
		require.NoError(t, os.Remove(short))
		process.want(t, refused, "list", pod.Volume)
		process.want(t, refused, "read", writeFile(t, pod.Path("token")))
	}
}

// TestPorts: only the listed ports, and no port to listen on.
func TestPorts(t *testing.T) {
	ports := [2]uint16{}
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		ports[i] = uint16(listener.Addr().(*net.TCPAddr).Port)
	}
	process := start(t, confine.Needs{Connect: []uint16{ports[0]}})
	if process.abi < 4 {
		t.Skipf("Landlock's ABI %d knows no ports", process.abi)
	}
	at := func(port uint16) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) }
	process.want(t, allowed, "connect", at(ports[0]))
	process.want(t, refused, "connect", at(ports[1]))
	process.want(t, refused, "listen", "")
}

// TestAbstractSockets: the relay cannot reach those of the node's network, where container runtimes listen.
func TestAbstractSockets(t *testing.T) {
	name := fmt.Sprintf("@confine-%d", os.Getpid())
	listener, err := net.Listen("unix", name)
	require.NoError(t, err)
	defer listener.Close()
	process := start(t, confine.Needs{})
	if process.abi < 6 {
		t.Skipf("Landlock's ABI %d knows no scopes", process.abi)
	}
	process.want(t, "EPERM", "connect-abstract", name)
}

// mountBelow mounts a tmpfs below a folder, as the kubelet does for the volumes of Secrets: "read-only" of the mount
// above does not reach it.
func mountBelow(t *testing.T, folder string) string {
	t.Helper()
	mounted := filepath.Join(folder, "token")
	require.NoError(t, os.Mkdir(mounted, 0o777))
	require.NoError(t, unix.Mount("tmpfs", mounted, "tmpfs", 0, ""))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(mounted, unix.MNT_DETACH)) })
	return mounted
}

func writeFile(t *testing.T, path string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, nil, 0o666))
	return path
}

// secret is a folder that the kubelet swaps whole.
type secret struct{ file string }

func newSecret(t *testing.T) secret {
	s := secret{file: filepath.Join(t.TempDir(), "tls.crt")}
	require.NoError(t, os.Symlink("..data/tls.crt", s.file))
	return s
}

func (s secret) swap(t *testing.T, generation string) {
	t.Helper()
	dir := filepath.Dir(s.file)
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".."+generation), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".."+generation, "tls.crt"), []byte(generation), 0o600))
	require.NoError(t, unix.Symlink(".."+generation, filepath.Join(dir, "..tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")))
}

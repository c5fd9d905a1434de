package confine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"kubevirt-hypervisor-exporter/relay/confine"
)

// confinedArgument makes the test's binary a process that confines itself and does what
// it reads from its standard input.
const confinedArgument = "confined"

// threads of the confined process do each thing; they are started before it is confined.
const threads = 6

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == confinedArgument {
		if err := obey(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// An order to the confined process.
type order struct{ Do, With string }

// obey confines the process and carries out orders, each in every thread.
func obey(needs string) error {
	var n confine.Needs
	if err := json.Unmarshal([]byte(needs), &n); err != nil {
		return err
	}
	orders, results := make(chan order), make(chan string)
	for range threads {
		go func() {
			runtime.LockOSThread()
			for o := range orders {
				results <- outcome(do(o))
			}
		}()
	}
	abi, err := n.Apply()
	fmt.Println(abi, err)
	for in := json.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err != nil {
			return nil // the test has ended
		}
		var seen []string
		for range threads {
			orders <- o // each thread waits for its turn: with no buffer, none takes two
		}
		for range threads {
			seen = append(seen, <-results)
		}
		fmt.Println(strings.Join(seen, " "))
	}
}

func do(o order) error {
	switch o.Do {
	case "read":
		_, err := os.ReadFile(o.With)
		return err
	case "list":
		_, err := os.ReadDir(o.With)
		return err
	case "find":
		fd, err := unix.Open(o.With, unix.O_PATH, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	case "write":
		file, err := os.OpenFile(o.With, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return file.Close()
	case "truncate":
		return os.Truncate(o.With, 0)
	case "delete":
		return os.Remove(o.With)
	case "rename":
		return os.Rename(o.With, o.With+".new")
	case "link":
		return os.Link(o.With, o.With+".new")
	case "create":
		return os.WriteFile(o.With, nil, 0o600)
	case "mkdir":
		return os.Mkdir(o.With, 0o700)
	case "symlink":
		return os.Symlink("/", o.With)
	case "mkfifo":
		return unix.Mkfifo(o.With, 0o600)
	case "execute":
		return exec.Command(o.With, "--version").Run()
	case "listen":
		// Not net.Listen: it takes Multipath TCP, which Landlock does not know.
		return withTCP(func(fd int) error { return unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}) })
	case "connect":
		return dial("tcp", o.With)
	case "connect-unix", "connect-abstract":
		return dial("unix", o.With)
	}
	return fmt.Errorf("unknown order %q", o.Do)
}

func withTCP(use func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(use(fd), unix.Close(fd))
}

func dial(network, address string) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// outcome is "ok" or the name of the system call's error.
func outcome(err error) string {
	var number syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &number):
		return unix.ErrnoName(number)
	}
	return strings.ReplaceAll(err.Error(), " ", "_")
}

// A confined process.
type confined struct {
	orders  *json.Encoder
	answers *bufio.Scanner
	abi     int
}

func start(t *testing.T, needs confine.Needs) *confined {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	encoded, err := json.Marshal(needs)
	require.NoError(t, err)
	cmd := exec.Command(self, confinedArgument, string(encoded))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		require.NoError(t, cmd.Wait())
	})
	c := &confined{orders: json.NewEncoder(in), answers: bufio.NewScanner(io.Reader(out))}
	require.True(t, c.answers.Scan(), "the process reports whether it is confined")
	var failure string
	_, err = fmt.Sscan(c.answers.Text(), &c.abi, &failure)
	require.NoError(t, err, c.answers.Text())
	if c.abi == 0 {
		t.Skipf("no Landlock here: %s", c.answers.Text())
	}
	require.Equal(t, "<nil>", failure, c.answers.Text())
	return c
}

// want gives an order, and requires the same outcome in every thread.
func (c *confined) want(t *testing.T, outcome, do, with string) {
	t.Helper()
	require.NoError(t, c.orders.Encode(order{do, with}))
	require.True(t, c.answers.Scan())
	require.Equal(t, strings.TrimSpace(strings.Repeat(outcome+" ", threads)), c.answers.Text(), "%s %s", do, with)
}

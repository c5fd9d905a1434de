package confine_test

import (
	"bufio"
	"context"
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
				results <- outcome(deeds[o.Do](o.With))
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

// deeds are what the process can be ordered to do.
var deeds = map[string]func(with string) error{
	"read":         func(with string) error { return second(os.ReadFile(with)) },
	"list":         func(with string) error { return second(os.ReadDir(with)) },
	"find":         func(with string) error { return closed(os.OpenFile(with, unix.O_PATH, 0)) },
	"write":        func(with string) error { return closed(os.OpenFile(with, os.O_WRONLY, 0)) },
	"truncate":     func(with string) error { return os.Truncate(with, 0) },
	"delete":       os.Remove,
	"rename":       func(with string) error { return os.Rename(with, with+".new") },
	"link":         func(with string) error { return os.Link(with, with+".new") },
	"create":       func(with string) error { return os.WriteFile(with, nil, 0o600) },
	"mkdir":        func(with string) error { return os.Mkdir(with, 0o700) },
	"symlink":      func(with string) error { return os.Symlink("/", with) },
	"mkfifo":       func(with string) error { return unix.Mkfifo(with, 0o600) },
	"execute":      func(with string) error { return exec.Command(with, "--version").Run() },
	"connect":      func(with string) error { return closed(net.Dial("tcp", with)) },
	"connect-unix": func(with string) error { return closed(net.Dial("unix", with)) },
	"listen": func(with string) error {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false) // which Landlock does not know
		return closed(plain.Listen(context.Background(), "tcp", with))
	},
}

func second[T any](_ T, err error) error { return err }

func closed[T io.Closer](opened T, err error) error {
	if err != nil {
		return err
	}
	return opened.Close()
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

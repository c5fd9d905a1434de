package acceptance

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// denyArgument makes the test's binary a program that forbids itself Landlock, as
// a container runtime with an old seccomp profile does, and becomes another.
const denyArgument = "deny-landlock"

func denyAndExec(errno string, command []string) error {
	number, err := strconv.Atoi(errno)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_LANDLOCK_CREATE_RULESET, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(number)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return fmt.Errorf("set the seccomp filter: %w", err)
	}
	return fmt.Errorf("become %s: %w", command[0], syscall.Exec(command[0], command, os.Environ()))
}

// TestOldSeccompProfile: where Landlock is refused, the relay logs that once and scrapes as before.
func TestOldSeccompProfile(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			require.NoError(t, err)
			kubelet := newKubelet(t)
			relay := startRelay(t, setup{kubelet: kubelet, wrap: []string{self, denyArgument, strconv.Itoa(int(errno))}})
			require.Equal(t, 1, strings.Count(relay.Log(), "not confined by Landlock: the kernel lacks it"), relay.Log())
			relay.want(t, http.StatusOK, podPath(addServingPod(t, kubelet).UID))
		})
	}
}

package libvirttest

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// prSetChildSubreaper is PR_SET_CHILD_SUBREAPER (prctl(2)).
const prSetChildSubreaper = 36

// reaper collects the QEMUs that ended. libvirt daemonises them, and its destroy waits
// until the process is gone, zombies counted. A pod's virt-launcher-monitor collects
// them at once; the init of a build container may take seconds, or for ever. So this
// process becomes the one that orphans of its descendants fall to, and stays it.
type reaper struct {
	signals chan os.Signal
	wg      sync.WaitGroup
}

func startReaper() (*reaper, error) {
	if _, _, errno := syscall.Syscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("become the reaper of QEMU: %w", errno)
	}
	r := &reaper{signals: make(chan os.Signal, 1)}
	signal.Notify(r.signals, syscall.SIGCHLD)
	r.wg.Go(func() {
		for range r.signals {
			reapQEMUs()
		}
	})
	return r, nil
}

func (r *reaper) stop() {
	signal.Stop(r.signals)
	close(r.signals)
	r.wg.Wait()
	reapQEMUs()
}

// reapQEMUs collects only what carries QEMU's name: the other children are os/exec's.
func reapQEMUs() {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		// proc(5): pid (comm) state ppid …; comm is cut to 15 characters.
		if err != nil || !bytes.Contains(stat, fmt.Appendf(nil, "(%.15s) Z %d ", filepath.Base(emulator), os.Getpid())) {
			continue
		}
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	}
}

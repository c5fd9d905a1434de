package libvirttest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

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

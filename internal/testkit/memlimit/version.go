package memlimit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A version is what differs between the versions of cgroups.
type version struct {
	settings                         func(Limits) []setting
	peak, failures, kills, anonymous field
}

// A setting is a value to be written. An optional one is not on every machine.
type setting struct {
	ofCPU       bool
	file, value string
	optional    bool
}

// A field is a file and the key in it, or no key where the file is the number.
type field struct{ file, key string }

func v1() version {
	return version{
		settings: func(l Limits) []setting {
			all := []setting{
				{file: "memory.limit_in_bytes", value: strconv.FormatInt(l.Memory, 10)},
				{file: "memory.memsw.limit_in_bytes", value: strconv.FormatInt(l.Memory, 10), optional: true},
			}
			if l.CPU > 0 {
				all = append(all,
					setting{ofCPU: true, file: "cpu.cfs_period_us", value: micros(cpuPeriod)},
					setting{ofCPU: true, file: "cpu.cfs_quota_us", value: quota(l.CPU)})
			}
			return all
		},
		peak:      field{file: "memory.max_usage_in_bytes"},
		failures:  field{file: "memory.failcnt"},
		kills:     field{"memory.oom_control", "oom_kill"},
		anonymous: field{"memory.stat", "rss"},
	}
}

func v2() version {
	return version{
		settings: func(l Limits) []setting {
			all := []setting{
				{file: "memory.max", value: strconv.FormatInt(l.Memory, 10)},
				{file: "memory.swap.max", value: "0", optional: true},
			}
			if l.CPU > 0 {
				all = append(all, setting{ofCPU: true, file: "cpu.max", value: quota(l.CPU) + " " + micros(cpuPeriod)})
			}
			return all
		},
		peak:      field{file: "memory.peak"},
		failures:  field{"memory.events", "max"},
		kills:     field{"memory.events", "oom_kill"},
		anonymous: field{"memory.stat", "anon"},
	}
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

func quota(cpus float64) string { return micros(time.Duration(cpus * float64(cpuPeriod))) }

// parse finds the field's number in the text of its file: the line that begins with
// the key, or the whole text if there is no key.
func (f field) parse(text []byte) (float64, error) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		switch {
		case f.key == "" && len(words) == 1:
			return strconv.ParseFloat(string(words[0]), 64)
		case f.key != "" && len(words) == 2 && string(words[0]) == f.key:
			return strconv.ParseFloat(string(words[1]), 64)
		}
	}
	return 0, fmt.Errorf("no number for %q", f.key)
}

// isV2 reports whether memory is limited by cgroup v2 here. Where v1 has it, v2 may be
// mounted, too, without controllers.
func isV2(mount string) bool {
	text, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
	return err == nil && strings.Contains(string(text), "memory")
}

// delegate lets groups below the mount limit memory and CPU. In a container the mount is
// the container's own group, which must have no processes then (cgroups(7), "no internal
// processes"): they move to a group of their own.
func delegate(mount string) error {
	control := filepath.Join(mount, "cgroup.subtree_control")
	enable := func() error { return os.WriteFile(control, []byte("+memory +cpu"), 0o644) }
	err := enable()
	if errors.Is(err, syscall.EBUSY) {
		if err = moveProcesses(mount, filepath.Join(mount, "others")); err == nil {
			err = enable()
		}
	}
	if err != nil {
		return fmt.Errorf("let cgroups limit memory and CPU: %w", err)
	}
	return nil
}

func moveProcesses(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	text, err := os.ReadFile(filepath.Join(from, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(text)) {
		// A process that has ended meanwhile is not there any more.
		err := os.WriteFile(filepath.Join(to, "cgroup.procs"), []byte(pid), 0o644)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("move process %s to %s: %w", pid, to, err)
		}
	}
	return nil
}

// alive reports whether the process that made the group, whose pid is in its name, runs.
func alive(folder string) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), prefix), "-")
	_, err := os.Stat("/proc/" + pid)
	return err == nil
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// memory is what /proc/PID/status tells, in bytes.
type memory struct {
	anonymous float64
	resident  float64
}

func readMemory(pid int) (m memory, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	if m.anonymous, err = statusField(text, "RssAnon"); err != nil {
		return m, err
	}
	m.resident, err = statusField(text, "VmRSS")
	return memory{m.anonymous * 1024, m.resident * 1024}, err
}

// statusField finds the number behind a field of a status file, in the file's unit.
func statusField(status []byte, name string) (float64, error) {
	for line := range bytes.Lines(status) {
		if value, found := bytes.CutPrefix(line, []byte(name+":")); found {
			if words := bytes.Fields(value); len(words) > 0 {
				return strconv.ParseFloat(string(words[0]), 64)
			}
		}
	}
	return 0, fmt.Errorf("no %s in the process's status", name)
}

// cpuTime is what all threads have spent on a CPU. The scheduler's own account is
// in nanoseconds; that of /proc/PID/stat is in ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	total, err := sumTasks(pid, "schedstat", func(text []byte) (float64, error) {
		words := bytes.Fields(text)
		if len(words) == 0 {
			return 0, fmt.Errorf("empty schedstat")
		}
		return strconv.ParseFloat(string(words[0]), 64)
	})
	return time.Duration(total), err
}

// voluntarySwitches is how often all threads together went to sleep.
func voluntarySwitches(pid int) (float64, error) {
	return sumTasks(pid, "status", func(text []byte) (float64, error) {
		return statusField(text, "voluntary_ctxt_switches")
	})
}

func sumTasks(pid int, file string, read func([]byte) (float64, error)) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, file))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no threads: %w", pid, os.ErrProcessDone)
	}
	total := 0.0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return 0, err
		}
		value, err := read(text)
		if err != nil {
			return 0, err
		}
		total += value
	}
	return total, nil
}

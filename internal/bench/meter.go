package main

import (
	"time"

	"github.com/prometheus/procfs"
)

// reading is what the kernel reports about a process. Memory is in bytes.
type reading struct {
	anonymous, resident float64
	// cpu is what all threads have spent, in the scheduler's nanoseconds: those of /proc/PID/stat are ticks of 10 ms.
	cpu time.Duration
	// wakeups is how often all threads together went to sleep.
	wakeups float64
	files   float64
}

// read reads /proc.
func read(pid int) (r reading, err error) {
	process, err := procfs.NewProc(pid)
	if err != nil {
		return r, err
	}
	status, err := process.NewStatus()
	if err != nil {
		return r, err
	}
	files, err := process.FileDescriptorsLen()
	if err != nil {
		return r, err
	}
	r = reading{anonymous: float64(status.RssAnon), resident: float64(status.VmRSS), files: float64(files)}
	threads, err := procfs.AllThreads(pid)
	if err != nil {
		return r, err
	}
	for _, thread := range threads {
		spent, err := thread.Schedstat()
		if err != nil {
			return r, err
		}
		status, err := thread.NewStatus()
		if err != nil {
			return r, err
		}
		r.cpu += time.Duration(spent.RunningNanoseconds)
		r.wakeups += float64(status.VoluntaryCtxtSwitches)
	}
	return r, nil
}

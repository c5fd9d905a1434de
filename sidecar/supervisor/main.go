// Supervisor is the first process of the sidecar's container. It starts the
// exporter, and starts it anew when it dies: were the exporter the first process,
// its death would be the container's, and the pod would count as unready, and its
// VM be without traffic from its Services, until the kubelet's backoff is over
// (3 s at first, more than 45 s after four times).
//
//	supervisor PATH ARGUMENT...
//
// It has no flags of its own and sleeps until somebody signals it or its child
// ends.
package main

import (
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// exitUsage is EX_USAGE of sysexits.h, the exporter's exit code for wrong flags.
// Not the usual 2, which is how a Go program exits that panics.
const exitUsage = 64

func main() {
	// The child's PDEATHSIG comes with the end of the thread that made it.
	runtime.LockOSThread()
	if len(os.Args) < 2 {
		os.Stderr.WriteString("usage: supervisor PATH ARGUMENT...\n")
		os.Exit(exitUsage)
	}
	os.Exit(supervise(os.Args[1:], patience{
		first: 100 * time.Millisecond,
		most:  10 * time.Second,
		reset: time.Minute,
		kill:  2 * time.Second,
	}))
}

// supervise keeps the command running until it is told to end, and gives the
// exit code then.
func supervise(command []string, p patience) int {
	spareThreads(8)
	// Nothing else that a pod may send is to end the container.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	told, ended := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(ended, syscall.SIGCHLD)
	s := supervisor{
		command:  command,
		patience: p,
		told:     told,
		ended:    ended,
		log:      newLog(os.Stderr.Fd()),
	}
	return s.run()
}

// spareThreads makes idle threads while there may be more. Go's runtime ends a
// process that needs one and gets none, as at a pod's limit of processes: beside a
// busy machine it did once in a hundred times that the child could not be started.
func spareThreads(count int) {
	var made, gone sync.WaitGroup
	made.Add(count)
	for range count {
		gone.Go(func() {
			runtime.LockOSThread() // so that each has a thread of its own, until all have
			defer runtime.UnlockOSThread()
			made.Done()
			made.Wait()
		})
	}
	gone.Wait()
}

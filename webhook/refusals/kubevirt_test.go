package refusals

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// cluster is a virt-controller that creates the pods of VMs through a webhook, on the clock of a synctest bubble. The
// queue is the one that virt-controller has; what it does with a VMI is written after vmi/vmi.go (execute) and
// vmi/lifecycle.go (sync, updateStatus) of KubeVirt 1.9.0.
type cluster struct {
	// vms are created all at once.
	vms int
	// replicas of the webhook; none is a cluster without it. route chooses the one that is asked at a VM's n-th review.
	replicas int
	route    func(n, replicas int) int
	// request is how long the API server takes for a creation.
	request time.Duration
	// reinvoked is how long after the first review of each request a second one comes, about a pod without the sidecar;
	// 0 is never.
	reinvoked time.Duration
	// admits says what is admitted at that time after the beginning.
	admits func(after time.Duration) admitted
}

// admitted says whether a pod is admitted with the sidecar and without it.
type admitted struct{ with, without bool }

var (
	nothing     = admitted{}
	onlyWithout = admitted{without: true}
	both        = admitted{with: true, without: true}
)

// vm is how a VM fared.
type vm struct {
	started  time.Duration
	injected bool // it runs with the sidecar
	forUs    int  // refused pods that had been admitted without the sidecar
}

const (
	// writes is how long the API server takes for a VMI's status, and then for virt-controller's watch to tell of it.
	writes = 10 * time.Millisecond
	// workers is virt-controller's defaultVMIControllerThreads.
	workers = 10
	// giveUp ends a simulation.
	giveUp = 12 * time.Hour
)

// run starts all VMs and returns how each fared; one that did not start has giveUp as its time.
func (c cluster) run(t *testing.T) []vm {
	results := make([]vm, c.vms)
	synctest.Test(t, func(*testing.T) {
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[int]())
		s := &simulation{cluster: c, queue: queue, start: time.Now(), state: make([]state, c.vms), results: results}
		for range c.replicas {
			s.memories = append(s.memories, New(time.Now))
		}
		s.pending.Add(c.vms)
		for i := range c.vms {
			results[i].started = giveUp
			queue.Add(i)
		}
		var running sync.WaitGroup
		for range workers {
			running.Go(s.work)
		}
		all := make(chan struct{})
		go func() { s.pending.Wait(); close(all) }()
		select {
		case <-all:
		case <-time.After(giveUp):
			s.stopped.Store(true)
		}
		queue.ShutDown()
		running.Wait()
	})
	return results
}

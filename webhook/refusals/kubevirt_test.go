package refusals

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
)

// cluster is a virt-controller that creates the pods of VMs through the webhook, on the clock of a synctest bubble. The
// queue is the one that virt-controller has; what it does with a VMI follows vmi/vmi.go (execute) and vmi/lifecycle.go
// (sync, updateStatus) of KubeVirt 1.9.0.
type cluster struct {
	// vms are created all at once.
	vms int
	// replicas of the webhook; 0 is a cluster without it. route chooses the one that gets a VM's n-th review.
	replicas int
	route    func(n, replicas int) int
	// request is how long the API server takes for a creation after the webhook has answered.
	request time.Duration
	// reinvoked is how long after the first review of a request a second one comes, if the pod has no sidecar then;
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

func always(a admitted) func(time.Duration) admitted {
	return func(time.Duration) admitted { return a }
}

// from is a ResourceQuota that is raised at that time.
func from(at time.Duration, then admitted) func(time.Duration) admitted {
	return func(after time.Duration) admitted {
		if after < at {
			return nothing
		}
		return then
	}
}

// routes are the ways in which reviews reach the replicas.
var routes = map[string]func(n, replicas int) int{
	"sticky":         func(_, _ int) int { return 0 },
	"by turns":       func(n, replicas int) int { return n % replicas },
	"at random":      func(_, replicas int) int { return rand.IntN(replicas) },
	"late to others": func(n, replicas int) int { return max(0, min(n-7, replicas-1)) },
}

// vm is the result for a VM.
type vm struct {
	started  time.Duration
	injected bool // it runs with the sidecar
	forUs    int  // its pods that were refused and would have been admitted without the sidecar
}

const (
	// writes is how long virt-controller needs to write a VMI's status, and its watch to show that.
	writes = 10 * time.Millisecond
	// workers is virt-controller's defaultVMIControllerThreads.
	workers = 10
	// giveUp ends a simulation: a VM that has not started by then has this time.
	giveUp = 12 * time.Hour
)

// simulation is a cluster that runs.
type simulation struct {
	cluster
	queue    workqueue.TypedRateLimitingInterface[int]
	memories []*Memory
	start    time.Time
	vms      []state
	pending  sync.WaitGroup // VMs that have not started
	events   sync.WaitGroup
}

// state is what virt-controller knows of a VM. A queue gives a VM to one worker at a time.
type state struct {
	vm
	reviews  int
	done     bool
	reported bool        // its status shows the failure
	awaiting atomic.Bool // a change of its status has not been seen (vmiExpectations)
}

// run starts all VMs and returns the results.
func (c cluster) run(t *testing.T) []vm {
	results := make([]vm, c.vms)
	synctest.Test(t, func(*testing.T) {
		s := &simulation{cluster: c, start: time.Now(), vms: make([]state, c.vms)}
		s.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[int]())
		for range c.replicas {
			s.memories = append(s.memories, New(time.Now))
		}
		s.pending.Add(c.vms)
		for i := range c.vms {
			s.queue.Add(i)
		}
		var running sync.WaitGroup
		for range workers {
			running.Go(s.work)
		}
		s.pending.Wait()
		s.events.Wait()
		s.queue.ShutDown()
		running.Wait()
		for i := range s.vms {
			results[i] = s.vms[i].vm
		}
	})
	return results
}

func (s *simulation) work() {
	for {
		i, quit := s.queue.Get()
		if quit {
			return
		}
		if s.sync(i, &s.vms[i]) {
			s.queue.Forget(i)
		} else {
			s.queue.AddRateLimited(i)
		}
		s.queue.Done(i)
	}
}

// sync creates the VM's pod. It returns false for an error.
func (s *simulation) sync(i int, known *state) bool {
	if known.done || known.awaiting.Load() {
		return true
	}
	if created := s.create(i, known); created || s.since() > giveUp {
		known.done, known.started = true, min(s.since(), giveUp)
		s.pending.Done()
		return true
	}
	if !known.reported {
		known.reported = true
		known.awaiting.Store(true)
		time.Sleep(writes)
		s.events.Go(func() {
			time.Sleep(writes)
			known.awaiting.Store(false)
			s.queue.Add(i)
		})
	}
	return false
}

// create is the API server: mutating webhooks, then what may refuse the pod.
func (s *simulation) create(i int, known *state) bool {
	injected := s.review(i, known)
	if s.reinvoked > 0 {
		time.Sleep(s.reinvoked)
		injected = injected || s.review(i, known)
	}
	time.Sleep(s.request)
	admitted := s.admits(s.since())
	if injected && !admitted.with && admitted.without {
		known.forUs++
	}
	known.injected = injected
	return injected && admitted.with || !injected && admitted.without
}

// review is the webhook: whether it injects the pod.
func (s *simulation) review(i int, known *state) bool {
	if s.replicas == 0 {
		return false
	}
	n := known.reviews
	known.reviews++
	leave, _ := s.memories[s.route(n, s.replicas)].Leave(Pod{Namespace: "shop", VMI: strconv.Itoa(i)})
	return !leave
}

func (s *simulation) since() time.Duration { return time.Since(s.start) }

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

const (
	// recheck is how long a finding about the kubelet's folder holds. /readyz is open to strangers.
	recheck = 2 * time.Second
	// stuck is how long a check may take before it counts as hanging.
	stuck = 10 * time.Second
)

// A kubeletFolder checks that the folder of --kubelet-pods-dir is the one in which this node's
// kubelet keeps its pods. In any other folder every VM is missing, which looks like a node
// without VMs.
type kubeletFolder struct {
	check  func() error
	now    func() time.Time
	logger *slog.Logger

	checking sync.Mutex
	began    atomic.Pointer[time.Time] // of the check that is under way; nil if none is
	last     atomic.Pointer[finding]
}

// A finding is what a check found, and when.
type finding struct {
	err error
	at  time.Time
}

// newKubeletFolder checks the folder for the first time. Where the relay does not know its own
// pod's uid, it checks only that the folder can be opened.
func newKubeletFolder(dir string, pods *podsocket.Pods, self podsocket.UID, logger *slog.Logger) *kubeletFolder {
	f := &kubeletFolder{now: time.Now, logger: logger, check: func() error { return checkFolder(dir, pods, self) }}
	_ = f.Err() // for the log
	return f
}

// Err is nil where scrapes can find pods. It checks at most every 2 s and never waits for
// another caller's check. A change is logged once.
func (f *kubeletFolder) Err() error {
	if f.checking.TryLock() {
		defer f.checking.Unlock()
		f.renew()
	}
	if began := f.began.Load(); began != nil {
		if age := f.now().Sub(*began); age > stuck {
			return fmt.Errorf("the kubelet's folder of pods has not answered for %s: its disk may hang", age.Round(time.Second))
		}
	}
	last := f.last.Load()
	if last == nil {
		return errors.New("the kubelet's folder of pods is being checked for the first time")
	}
	return last.err
}

func (f *kubeletFolder) renew() {
	before, now := f.last.Load(), f.now()
	if before != nil && now.Sub(before.at) < recheck {
		return
	}
	f.began.Store(&now)
	defer f.began.Store(nil)
	found := &finding{err: f.check(), at: f.now()}
	f.last.Store(found)
	switch {
	case found.err != nil && (before == nil || before.err == nil || before.err.Error() != found.err.Error()):
		f.logger.Error("not ready: the kubelet's folder of pods cannot be used", "err", found.err)
	case found.err == nil && before != nil && before.err != nil:
		f.logger.Info("the kubelet's folder of pods can be used now")
	}
}

// checkFolder looks for the relay's own pod: its folder is there before its containers start
// (kubelet, makePodDataDirs).
func checkFolder(dir string, pods *podsocket.Pods, self podsocket.UID) error {
	err := pods.Check()
	if err == nil && self != "" {
		err = pods.Holds(self)
	}
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, podsocket.ErrGone):
		return fmt.Errorf("--kubelet-pods-dir: %w", err)
	}
	where := fmt.Sprintf("to find it, run this on the node: findmnt -rno TARGET | grep %s", self)
	if own := folderOf(self); own != "" {
		where = fmt.Sprintf("within its file system, that folder is %s", own)
	}
	return fmt.Errorf("--kubelet-pods-dir=%s is not where this node's kubelet keeps its pods: the relay's own pod %s is not in it, so no VM here can be scraped. "+
		"Set it to the folder pods below the kubelet's --root-dir (Helm: relay.kubeletPodsDir; kustomize: docs/install.md); %s", dir, self, where)
}

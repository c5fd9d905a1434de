package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

const (
	// recheck is how long the result of a check is kept. Anyone can ask /readyz.
	recheck = 2 * time.Second
	// stuck is how long a check may take before it counts as hanging.
	stuck = 10 * time.Second
)

// A kubeletFolder checks that the folder of --kubelet-pods-dir is the one in which this node's
// kubelet keeps its pods. In any other folder every VM is missing, which looks like a node
// without VMs.
type kubeletFolder struct {
	check  func() error
	logger *slog.Logger

	checking sync.Mutex
	began    atomic.Pointer[time.Time] // when the check under way began; nil if there is none
	last     atomic.Pointer[finding]
}

// A finding is the result of a check.
type finding struct {
	err error
	at  time.Time
}

// newKubeletFolder checks the folder for the first time. If the relay does not know its own
// pod's uid, it checks only that the folder can be opened.
func newKubeletFolder(dir string, pods *podsocket.Pods, self podsocket.UID, logger *slog.Logger) *kubeletFolder {
	f := &kubeletFolder{logger: logger, check: func() error { return checkFolder(dir, pods, self) }}
	_ = f.Err() // which logs it
	return f
}

// Err is nil if scrapes can find pods. It checks at most every 2 s and never waits for
// another caller's check. It logs each change once.
func (f *kubeletFolder) Err() error {
	if f.checking.TryLock() {
		defer f.checking.Unlock()
		f.renew()
	}
	if began := f.began.Load(); began != nil {
		if age := time.Since(*began); age > stuck {
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
	before, now := f.last.Load(), time.Now()
	if before != nil && now.Sub(before.at) < recheck {
		return
	}
	f.began.Store(&now)
	defer f.began.Store(nil)
	found := &finding{err: f.check(), at: time.Now()}
	f.last.Store(found)
	switch {
	case found.err != nil && (before == nil || before.err == nil || before.err.Error() != found.err.Error()):
		f.logger.Error("not ready: the kubelet's folder of pods cannot be used", "err", found.err)
	case found.err == nil && before != nil && before.err != nil:
		f.logger.Info("the kubelet's folder of pods can be used now")
	}
}

// checkFolder finds the relay's own pod: its folder is there before its containers start
// (kubelet, makePodDataDirs).
func checkFolder(dir string, pods *podsocket.Pods, self podsocket.UID) error {
	err := pods.Check()
	if err == nil && self != "" {
		err = pods.Holds(self)
	}
	if err == nil {
		return nil
	}
	if !errors.Is(err, podsocket.ErrGone) {
		return fmt.Errorf("--kubelet-pods-dir: %w", err)
	}
	where := fmt.Sprintf("to find it, run this on the node: findmnt -rno TARGET | grep %s", self)
	if own := folderOf(self); own != "" {
		where = fmt.Sprintf("within its file system, that folder is %s", own)
	}
	return fmt.Errorf("--kubelet-pods-dir=%s is not where this node's kubelet keeps its pods: the relay's own pod %s is not in it, so no VM here can be scraped. "+
		"Set it to the folder pods below the kubelet's --root-dir (Helm: relay.kubeletPodsDir; kustomize: docs/install.md); %s", dir, self, where)
}

// folderOf returns the path of the kubelet's folder of pods within its file system, or "". The kubelet
// mounts files of the pod's folder into each container: etc-hosts and the termination log.
func folderOf(pod podsocket.UID) string {
	mounts, _ := procfs.GetMounts() // without them, the message has a command instead
	for _, m := range mounts {
		if before, _, found := strings.Cut(m.Root, "/"+string(pod)+"/"); found {
			return before
		}
	}
	return ""
}

// reportMounts logs whether the relay, as root, could write to what is mounted below the
// kubelet's folder: other pods' tmpfs and PVCs.
func reportMounts(dir string, logger *slog.Logger) {
	mounts, err := procfs.GetMounts()
	if err != nil {
		logger.Warn("cannot check whether mounts below the kubelet's folder are writable", "pods_dir", dir, "err", err)
		return
	}
	total, writable := mountsBelow(dir, mounts)
	if writable > 0 {
		logger.Warn("mounts below the kubelet's folder are writable for a taken-over relay that Landlock does not confine: recursiveReadOnly is not in force, which needs Kubernetes 1.31, Linux 5.12 and containerd 2.0 or CRI-O 1.30",
			"pods_dir", dir, "mounts", total, "writable", writable)
		return
	}
	logger.Info("nothing below the kubelet's folder is writable", "pods_dir", dir, "mounts", total)
}

// mountsBelow counts the mounts at the folder and below it. A file system that is read-only as a
// whole is not writable, whatever the mount's own options.
func mountsBelow(dir string, mounts []*procfs.MountInfo) (total, writable int) {
	for _, m := range mounts {
		if m.MountPoint != dir && !strings.HasPrefix(m.MountPoint, dir+"/") {
			continue
		}
		total++
		_, mount := m.Options["rw"]
		_, fileSystem := m.SuperOptions["rw"]
		if mount && fileSystem {
			writable++
		}
	}
	return total, writable
}

package scrape

import (
	"log/slog"
	"sync"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// maxFailing bounds the pods that are remembered as failing: four times what a node
// holds at most.
const maxFailing = 1024

// failures logs when a pod's scrapes begin to fail, fail for another reason, and
// work again: once for each change, as a failure comes again with each scrape.
type failures struct {
	logger *slog.Logger

	mu      sync.Mutex
	failing map[podsocket.UID]Result
}

func newFailures(logger *slog.Logger) *failures {
	return &failures{logger: logger, failing: map[podsocket.UID]Result{}}
}

// note records how a scrape ended; err is nil if the result is OK.
func (f *failures) note(uid podsocket.UID, result Result, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before, failed := f.failing[uid]
	switch result {
	case ClientGone, PodBusy, RelayBusy: // not about the pod
	case Gone:
		// Pods come and go, and anyone may ask for any uid.
		delete(f.failing, uid)
		f.logger.Debug("scrape of a pod that is not here", "pod_uid", uid)
	case OK:
		if failed {
			delete(f.failing, uid)
			f.logger.Info("scrapes of the pod work again", "pod_uid", uid, "before", before.String())
		}
	case Foreign, Unusable, Refused, Timeout, Malformed, TooLarge, CutOff, Status, NodeFault:
		if failed && before == result || !failed && len(f.failing) >= maxFailing {
			return
		}
		f.failing[uid] = result
		f.logger.Warn("scrapes of the pod fail", "pod_uid", uid, "result", result.String(), "err", err)
	}
}

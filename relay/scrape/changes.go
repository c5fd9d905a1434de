package scrape

import (
	"log/slog"
	"sync"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// maxAiling bounds the pods that are remembered as failing: four times what a node
// holds at most.
const maxAiling = 1024

// changes logs when a pod's scrapes begin to fail, fail for another reason, and
// work again: once a change, as a failure comes again with each scrape.
type changes struct {
	logger *slog.Logger

	mu     sync.Mutex
	ailing map[podsocket.UID]Result
}

func newChanges(logger *slog.Logger) *changes {
	return &changes{logger: logger, ailing: map[podsocket.UID]Result{}}
}

// note takes how a scrape ended; err is nil where it went well.
func (c *changes) note(uid podsocket.UID, result Result, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, ailed := c.ailing[uid]
	switch result {
	case ClientGone, PodBusy, RelayBusy:
		return // says nothing of the pod
	case Gone:
		// Pods come and go, and any uid may be asked for.
		delete(c.ailing, uid)
		c.logger.Debug("scrape of a pod that is not here", "pod_uid", uid)
		return
	case OK:
		if ailed {
			delete(c.ailing, uid)
			c.logger.Info("scrapes of the pod work again", "pod_uid", uid, "before", before.String())
		}
		return
	case Foreign, Unusable, Refused, Timeout, Malformed, TooLarge, CutOff, Status, NodeFault, results:
	}
	if before == result && ailed || !ailed && len(c.ailing) >= maxAiling {
		return
	}
	c.ailing[uid] = result
	c.logger.Warn("scrapes of the pod fail", "pod_uid", uid, "result", result.String(), "err", err)
}

package certs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

const (
	// recheck is how often the wall clock and the objects are checked when nothing happens. A timer set to the renewal
	// itself would stand still while the machine is suspended (Linux CLOCK_MONOTONIC); this one is at most half a minute
	// late after it wakes.
	recheck = 30 * time.Second
	// retry is the first pause after an error, and the pause between two checks of something awaited; it doubles with
	// each error in a row, up to recheck.
	retry = 2 * time.Second
	// leastPause limits how often we answer another writer that keeps undoing our writes (a GitOps tool that manages
	// caBundle).
	leastPause = time.Second
	// stepTimeout is more than all reads, a write and a few dead replicas take.
	stepTimeout = time.Minute
	// maxSteps is more than the longest sequence without waiting has.
	maxSteps = 10
)

// Rotator carries out the plan.
type Rotator struct {
	policy  Policy
	store   Store
	servers Servers
	now     func() time.Time
	logger  *slog.Logger
	metrics *Metrics

	memory   Memory
	failures int
	// reported is when a reason to keep the old CA was last logged.
	reported time.Time

	// Unix times, read by other goroutines; zero before the first.
	tried, succeeded atomic.Int64
}

// New makes a Rotator. now must return wall-clock time.
func New(policy Policy, store Store, servers Servers, now func() time.Time, metrics *Metrics, logger *slog.Logger) *Rotator {
	return &Rotator{policy: policy, store: store, servers: servers, now: now, metrics: metrics, logger: logger}
}

// Run rotates until ctx ends; it returns nil then. Errors are logged, counted and tried again: a restart would do no
// better.
func (r *Rotator) Run(ctx context.Context) error {
	changes := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		r.store.Watch(ctx, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	})
	defer watching.Wait()

	for ctx.Err() == nil {
		pause := r.pass(ctx)
		sleep(ctx, leastPause, nil)
		sleep(ctx, pause-leastPause, changes)
	}
	return nil
}

// Tried returns nil if the rotation has checked the certificates within the time; otherwise it hangs.
func (r *Rotator) Tried(within time.Duration) error {
	return r.recent("tried", r.tried.Load(), within)
}

// Succeeded returns nil if it has done so without an error.
func (r *Rotator) Succeeded(within time.Duration) error {
	return r.recent("succeeded", r.succeeded.Load(), within)
}

func (r *Rotator) recent(what string, unix int64, within time.Duration) error {
	if since := r.now().Sub(time.Unix(unix, 0)); since > within {
		return fmt.Errorf("the rotation has not %s for more than %s; see its log for the reason", what, within)
	}
	return nil
}

// sleep waits for the time, the event or the end of ctx.
func sleep(ctx context.Context, d time.Duration, event <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-event:
	case <-timer.C:
	}
}

// pass takes steps until there is nothing to do but wait, and returns how long.
func (r *Rotator) pass(ctx context.Context) time.Duration {
	for range maxSteps {
		step, err := r.step(ctx)
		switch {
		case errors.Is(err, ErrConflict):
			r.logger.Info("another writer was first, reading again", "step", step, "err", err)
			continue
		case err != nil && ctx.Err() != nil:
			return 0
		case err != nil:
			return r.failed(step, err)
		}
		r.failures = 0
		r.succeeded.Store(r.now().Unix())
		r.metrics.succeeded(r.now())
		switch step {
		case Rest:
			return recheck
		case AwaitPublication, AwaitReplicas:
			return retry
		case IssueCA, Publish, IssueLeaf, Retire:
			r.metrics.steps.WithLabelValues(step.String()).Inc()
		}
	}
	r.logger.Warn("the certificates keep changing: another writer seems to write them too")
	return recheck
}

func (r *Rotator) failed(step Step, err error) time.Duration {
	pause := min(retry<<min(r.failures, 10), recheck)
	r.failures++
	r.metrics.errors.Inc()
	r.logger.Warn("certificate rotation failed, trying again", "step", step, "retry_in", pause.String(), "err", err)
	return pause
}

// step reads, plans and acts once, and returns what it did.
func (r *Rotator) step(ctx context.Context) (Step, error) {
	r.tried.Store(r.now().Unix())
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	snapshot, err := r.store.Read(ctx)
	if err != nil {
		return Rest, err
	}
	now := r.now()
	state := Parse(snapshot)
	r.metrics.observed(state)
	want := state.Bundle(now).PEM()
	r.memory.observed(now, want, state.published(want))
	step := r.policy.Plan(now, state, r.memory)
	if step != AwaitReplicas && step != Retire {
		r.memory.ConfirmedSince = time.Time{}
	}
	if err := r.act(ctx, step, now, snapshot, state); err != nil {
		return step, fmt.Errorf("%s: %w", step, err)
	}
	return step, nil
}

func (r *Rotator) act(ctx context.Context, step Step, now time.Time, snapshot Snapshot, state State) error {
	switch step {
	case Rest, AwaitPublication:
		return nil
	case IssueCA:
		return r.issueCA(ctx, now, snapshot)
	case Publish:
		bundle := state.Bundle(now)
		r.logger.Info("publishing the trusted CAs", "count", len(bundle), "into", snapshot.Published.Names)
		return r.store.WriteBundle(ctx, snapshot.Published, bundle.PEM())
	case IssueLeaf:
		return r.issueLeaf(ctx, now, snapshot, state)
	case AwaitReplicas:
		r.confirm(ctx, now, state)
		return nil
	case Retire:
		r.logger.Info("every replica serves a certificate of the present CA, dropping the old CA")
		return r.store.WriteServing(ctx, snapshot.Serving.Version, map[string][]byte{
			TrustKey: pki.Bundle{state.CA.Certificate}.PEM(),
		})
	}
	return errors.New("no such step")
}

func (r *Rotator) issueCA(ctx context.Context, now time.Time, snapshot Snapshot) error {
	ca, err := pki.NewCA(r.policy.DNSName, now, r.policy.CALifetime)
	if err != nil {
		return err
	}
	r.logger.Info("issuing a new CA", "not_after", ca.Certificate.NotAfter)
	return r.store.WriteCA(ctx, snapshot.CA.Version, map[string][]byte{CertKey: ca.CertPEM, KeyKey: ca.KeyPEM})
}

func (r *Rotator) issueLeaf(ctx context.Context, now time.Time, snapshot Snapshot, state State) error {
	leaf, err := pki.IssueLeaf(state.CA, r.policy.DNSName, now, r.policy.LeafLifetime)
	if err != nil {
		return err
	}
	r.logger.Info("issuing a new serving certificate", "not_after", leaf.Certificate.NotAfter)
	return r.store.WriteServing(ctx, snapshot.Serving.Version, map[string][]byte{
		CertKey: leaf.CertPEM, KeyKey: leaf.KeyPEM, TrustKey: state.Bundle(now).PEM(),
	})
}

// confirm asks the replicas. It is not an error that one does not serve the new certificate yet: the kubelet may take a
// minute to bring it there.
func (r *Rotator) confirm(ctx context.Context, now time.Time, state State) {
	err := r.servers.Confirm(ctx, pki.Bundle{state.CA.Certificate})
	if err == nil {
		r.memory.confirmed(now, state.CA.CertPEM)
		return
	}
	r.memory.ConfirmedSince = time.Time{}
	if now.Sub(r.reported) >= time.Minute {
		r.reported = now
		r.logger.Info("the old CA stays trusted", "reason", err)
	}
}

package rotation

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
	// recheck is how often the wall clock and the objects are looked at when
	// nothing happens. A timer set to the renewal itself would stand still
	// while the machine is suspended (Linux CLOCK_MONOTONIC); this one is at
	// most half a minute late after it wakes.
	recheck = 30 * time.Second
	// retry is the first pause after an error, and the pace while waiting for
	// others; it doubles with each error in a row, up to recheck.
	retry = 2 * time.Second
	// breather bounds how often we answer someone who keeps undoing our
	// writes (a GitOps tool with an opinion on caBundle).
	breather = time.Second
	// stepTimeout is more than all reads, a write and a few dead replicas take.
	stepTimeout = time.Minute
	// maxSteps is more than the longest sequence without waiting has.
	maxSteps = 10
)

// Rotator carries out the plan.
type Rotator struct {
	policy   Policy
	cluster  Cluster
	replicas Replicas
	now      func() time.Time
	logger   *slog.Logger
	metrics  *Metrics

	memory   Memory
	failures int
	// complained is when a reason to keep the old authority was last logged.
	complained time.Time

	// Unix times, read by other goroutines; zero before the first.
	tried, succeeded atomic.Int64
}

// New makes a Rotator. now must give wall-clock time.
func New(policy Policy, cluster Cluster, replicas Replicas, now func() time.Time, metrics *Metrics, logger *slog.Logger) *Rotator {
	return &Rotator{policy: policy, cluster: cluster, replicas: replicas, now: now, metrics: metrics, logger: logger}
}

// Run rotates until ctx ends; it returns nil then. Errors are logged, counted
// and tried again: there is nothing a restart would do better.
func (r *Rotator) Run(ctx context.Context) error {
	changes := make(chan struct{}, 1)
	var watching sync.WaitGroup
	watching.Go(func() {
		r.cluster.Watch(ctx, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	})
	defer watching.Wait()

	for ctx.Err() == nil {
		pause := r.pass(ctx)
		sleep(ctx, breather, nil)
		sleep(ctx, pause-breather, changes)
	}
	return nil
}

// Tried is nil when the rotation has looked at the certificates within the
// time; if not, it hangs.
func (r *Rotator) Tried(within time.Duration) error {
	return r.recent("tried", r.tried.Load(), within)
}

// Succeeded is nil when it has done so without an error.
func (r *Rotator) Succeeded(within time.Duration) error {
	return r.recent("succeeded", r.succeeded.Load(), within)
}

func (r *Rotator) recent(what string, unix int64, within time.Duration) error {
	if since := r.now().Sub(time.Unix(unix, 0)); since > within {
		return fmt.Errorf("the rotation has not %s for more than %s; its log says why", what, within)
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

// pass takes steps until there is nothing to do but wait, and says how long.
func (r *Rotator) pass(ctx context.Context) time.Duration {
	for range maxSteps {
		step, err := r.step(ctx)
		switch {
		case errors.Is(err, ErrConflict):
			r.logger.Info("someone else wrote first, reading again", "step", step, "err", err)
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
		case IssueAuthority, Publish, IssueLeaf, Retire:
			r.metrics.took(step)
		}
	}
	r.logger.Warn("the certificates do not come to rest: someone else seems to write them too")
	return recheck
}

func (r *Rotator) failed(step Step, err error) time.Duration {
	pause := min(retry<<min(r.failures, 10), recheck)
	r.failures++
	r.metrics.failed()
	r.logger.Warn("certificate rotation failed, trying again", "step", step, "retry_in", pause.String(), "err", err)
	return pause
}

// step reads, plans and acts once, and says what it did.
func (r *Rotator) step(ctx context.Context) (Step, error) {
	r.tried.Store(r.now().Unix())
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	snapshot, err := r.cluster.Read(ctx)
	if err != nil {
		return Rest, err
	}
	now := r.now()
	state := Interpret(snapshot)
	r.metrics.observed(state)
	want := state.Bundle(now).PEM()
	r.memory.note(now, want, state.published(want))
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
	case IssueAuthority:
		return r.issueAuthority(ctx, now, snapshot)
	case Publish:
		r.logger.Info("publishing the caBundle", "authorities", len(state.Bundle(now)), "webhooks", snapshot.Webhooks.Names)
		return r.cluster.WriteBundle(ctx, snapshot.Webhooks, state.Bundle(now).PEM())
	case IssueLeaf:
		return r.issueLeaf(ctx, now, snapshot, state)
	case AwaitReplicas:
		return r.confirm(ctx, now, state)
	case Retire:
		r.logger.Info("every replica serves the present authority's certificate, dropping the old authority")
		return r.cluster.WriteServing(ctx, snapshot.Serving.Version, map[string][]byte{
			TrustKey: pki.Bundle{state.Authority.Certificate}.PEM(),
		})
	}
	return fmt.Errorf("no such step")
}

func (r *Rotator) issueAuthority(ctx context.Context, now time.Time, snapshot Snapshot) error {
	authority, err := pki.NewAuthority(r.policy.DNSName, now, r.policy.AuthorityLifetime)
	if err != nil {
		return err
	}
	r.logger.Info("issuing a new authority", "not_after", authority.Certificate.NotAfter)
	return r.cluster.WriteAuthority(ctx, snapshot.Authority.Version, map[string][]byte{
		CertKey: authority.CertPEM, KeyKey: authority.KeyPEM,
	})
}

func (r *Rotator) issueLeaf(ctx context.Context, now time.Time, snapshot Snapshot, state State) error {
	leaf, err := pki.IssueLeaf(state.Authority, r.policy.DNSName, now, r.policy.LeafLifetime)
	if err != nil {
		return err
	}
	r.logger.Info("issuing a new serving certificate", "not_after", leaf.Certificate.NotAfter)
	return r.cluster.WriteServing(ctx, snapshot.Serving.Version, map[string][]byte{
		CertKey: leaf.CertPEM, KeyKey: leaf.KeyPEM, TrustKey: state.Bundle(now).PEM(),
	})
}

// confirm asks the replicas. That one does not serve the new certificate yet
// is no error: the kubelet may take a minute to bring it there.
func (r *Rotator) confirm(ctx context.Context, now time.Time, state State) error {
	if err := r.replicas.Confirm(ctx, pki.Bundle{state.Authority.Certificate}); err != nil {
		r.memory.ConfirmedSince = time.Time{}
		if now.Sub(r.complained) >= time.Minute {
			r.complained = now
			r.logger.Info("the old authority stays trusted", "reason", err)
		}
		return nil
	}
	r.memory.confirmed(now, state.Authority.CertPEM)
	return nil
}

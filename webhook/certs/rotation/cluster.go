package rotation

import (
	"context"
	"errors"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// ErrConflict is what a write gives when the object has changed since it was
// read. Nothing was written; read again.
var ErrConflict = errors.New("the object has changed since it was read")

// Cluster is the three objects. Every write changes only the keys it names and
// only if the object still has the version given; otherwise it is ErrConflict.
type Cluster interface {
	Read(ctx context.Context) (Snapshot, error)
	WriteAuthority(ctx context.Context, version string, data map[string][]byte) error
	WriteServing(ctx context.Context, version string, data map[string][]byte) error
	WriteBundle(ctx context.Context, webhooks Webhooks, bundle []byte) error
	// Watch calls changed after each change of the webhook configuration,
	// and after each time it may have missed one, until ctx ends.
	Watch(ctx context.Context, changed func())
}

// Replicas is the serving side, as the API server would meet it.
type Replicas interface {
	// Confirm is nil when at least one replica exists and each one shows a
	// certificate that a client trusting this bundle alone accepts. The error
	// names the replica that does not.
	Confirm(ctx context.Context, trusted pki.Bundle) error
}

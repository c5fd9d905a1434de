// Package certs keeps the product's own certificates current, those of the webhook and those of the node relay: a CA in
// one Secret, the serving pair in another, and the CAs that verifiers trust in the webhook configuration's caBundle (the
// API server is the verifier) or in a ConfigMap (Prometheus is).
//
// Nothing about a rotation in progress is kept anywhere but in those three objects, so the process can be stopped and
// started at any point: it reads them, Plan names the next step, the step is written with the resourceVersion that was
// read, and they are read again.
//
// Two Secrets, although one would do: a pod that mounts a Secret can be made to give up all of it, and the serving pods
// talk to the network. The key that can sign for the service is in the Secret that no pod mounts.
package certs

import (
	"bytes"
	"context"
	"errors"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// The keys of the two Secrets. Those of the serving one are the usual ones of a TLS Secret, so that cert-manager can
// write it instead.
const (
	CertKey = "tls.crt"
	KeyKey  = "tls.key"
	// TrustKey in the serving Secret holds the CAs that replicas may still show a certificate of: one, or two while
	// replicas change over. In the relay's ConfigMap it holds the CAs that Prometheus trusts.
	TrustKey = "ca.crt"
)

// ErrConflict is the error of a write to an object that has changed since it was read. Nothing was written; read again.
var ErrConflict = errors.New("the object has changed since it was read")

// Store is the three objects. Every write changes only the keys it names, and only if the object still has the version
// given; otherwise the error is ErrConflict.
type Store interface {
	Read(ctx context.Context) (Snapshot, error)
	WriteCA(ctx context.Context, version string, data map[string][]byte) error
	WriteServing(ctx context.Context, version string, data map[string][]byte) error
	WriteBundle(ctx context.Context, into Published, bundle []byte) error
	// Watch calls changed after each change of what is published, and after each time it may have missed one, until ctx
	// ends.
	Watch(ctx context.Context, changed func())
}

// Servers are the serving side, as a verifier meets it.
type Servers interface {
	// Confirm returns nil if at least one server exists and each one shows a certificate that a client accepts which
	// trusts this bundle alone. The error names the servers that do not.
	Confirm(ctx context.Context, trusted pki.Bundle) error
}

// Secret is the data of a Secret and the version at which it was read.
type Secret struct {
	Version string
	Data    map[string][]byte
}

// Published is the webhook configuration with its webhooks' bundles, or the ConfigMap with its one. Zero if there is no
// webhook configuration: then no API server calls us, and none has to trust us.
type Published struct {
	Version string
	Names   []string
	Bundles [][]byte
}

// Snapshot is what one read of the objects found.
type Snapshot struct {
	CA        Secret
	Serving   Secret
	Published Published
}

// State is a parsed Snapshot. What cannot be parsed is absent: it was never written, or it was overwritten by others, and
// is made again.
type State struct {
	CA        *pki.Pair
	Leaf      *pki.Pair
	Trusted   pki.Bundle
	Published [][]byte
}

// Parse parses the snapshot's bytes.
func Parse(s Snapshot) State {
	state := State{Published: s.Published.Bundles}
	if pair, err := pki.ParsePair(s.CA.Data[CertKey], s.CA.Data[KeyKey]); err == nil && pair.Certificate.IsCA {
		state.CA = pair
	}
	if pair, err := pki.ParsePair(s.Serving.Data[CertKey], s.Serving.Data[KeyKey]); err == nil {
		state.Leaf = pair
	}
	if bundle, err := pki.ParseBundle(s.Serving.Data[TrustKey]); err == nil {
		state.Trusted = bundle
	}
	return state
}

// Bundle is what should be published: the CA that signs and, until the last replica has changed over, also those before
// it.
func (s State) Bundle(now time.Time) pki.Bundle {
	var bundle pki.Bundle
	if s.CA != nil {
		bundle = bundle.With(s.CA.Certificate)
	}
	return bundle.With(s.Trusted...).Unexpired(now)
}

// published reports whether every published bundle is exactly want.
func (s State) published(want []byte) bool {
	for _, have := range s.Published {
		if !bytes.Equal(have, want) {
			return false
		}
	}
	return true
}

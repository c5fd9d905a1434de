// Package rotation keeps the webhook's own certificates current: an authority
// in one Secret, the serving pair in another, and the authorities the API
// server trusts in the webhook configuration's caBundle.
//
// Nothing about a rotation in progress is kept anywhere but in those three
// objects, so the process can be stopped and started at any point: it reads
// them, Plan names the next step, the step is written with the
// resourceVersion that was read, and they are read again.
//
// Two Secrets, although one would do: a pod that mounts a Secret can be made to
// give up all of it, and the serving pods talk to the network. The key that can
// sign for the service lies in the one that no pod mounts.
package rotation

import (
	"bytes"
	"time"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

// The keys of the two Secrets. Those of the serving one are the usual ones of
// a TLS Secret, so that cert-manager can take its place.
const (
	CertKey = "tls.crt"
	KeyKey  = "tls.key"
	// TrustKey in the serving Secret holds the authorities that replicas may
	// still show a certificate of: one, or two while they change over.
	TrustKey = "ca.crt"
)

// Secret is what is read of a Secret, and the version it was read at.
type Secret struct {
	Version string
	Data    map[string][]byte
}

// Webhooks is what is read of the webhook configuration. Zero when there is
// none: then nobody calls us, and nobody has to trust us.
type Webhooks struct {
	Version string
	Names   []string
	Bundles [][]byte
}

// Snapshot is what one look at the cluster found.
type Snapshot struct {
	Authority Secret
	Serving   Secret
	Webhooks  Webhooks
}

// State is a Snapshot understood. Whatever cannot be read as what it should be
// is absent: it was never written, or it was vandalised, and is made again.
type State struct {
	Authority *pki.Pair
	Leaf      *pki.Pair
	Trusted   pki.Bundle
	Published [][]byte
}

// Interpret reads the snapshot's bytes.
func Interpret(s Snapshot) State {
	state := State{Published: s.Webhooks.Bundles}
	if pair, err := pki.ParsePair(s.Authority.Data[CertKey], s.Authority.Data[KeyKey]); err == nil && pair.Certificate.IsCA {
		state.Authority = pair
	}
	if pair, err := pki.ParsePair(s.Serving.Data[CertKey], s.Serving.Data[KeyKey]); err == nil {
		state.Leaf = pair
	}
	if bundle, err := pki.ParseBundle(s.Serving.Data[TrustKey]); err == nil {
		state.Trusted = bundle
	}
	return state
}

// Bundle is what the caBundle should be: the authority that signs, and before
// the last replica has changed over also those it follows.
func (s State) Bundle(now time.Time) pki.Bundle {
	var bundle pki.Bundle
	if s.Authority != nil {
		bundle = bundle.With(s.Authority.Certificate)
	}
	return bundle.With(s.Trusted...).Unexpired(now)
}

// published says whether every webhook of the configuration has exactly want.
func (s State) published(want []byte) bool {
	for _, have := range s.Published {
		if !bytes.Equal(have, want) {
			return false
		}
	}
	return true
}

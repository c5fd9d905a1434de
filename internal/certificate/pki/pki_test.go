package pki

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const name = "webhook.ns.svc"

func pair(t *testing.T, now time.Time) (ca, leaf *Pair) {
	t.Helper()
	ca, err := NewCA(name, now, 90*24*time.Hour)
	require.NoError(t, err)
	leaf, err = IssueLeaf(ca, name, now, 30*24*time.Hour)
	require.NoError(t, err)
	return ca, leaf
}

func TestLeafVerifies(t *testing.T) {
	now := time.Now()
	ca, leaf := pair(t, now)
	_, stranger := pair(t, now)
	trusted := Bundle{ca.Certificate}
	require.NoError(t, trusted.Verify(leaf.Certificate, name, now))
	require.NoError(t, trusted.Verify(leaf.Certificate, name, now.Add(-2*ClockError)), "the issuer's clock is ahead, the verifier's behind")
	require.Error(t, trusted.Verify(leaf.Certificate, name, now.Add(-24*time.Hour)))
	require.Error(t, trusted.Verify(leaf.Certificate, "other.ns.svc", now))
	require.Error(t, trusted.Verify(leaf.Certificate, name, now.Add(31*24*time.Hour)))
	require.Error(t, trusted.Verify(stranger.Certificate, name, now))
	require.Equal(t, x509.ECDSA, leaf.Certificate.PublicKeyAlgorithm)
}

func TestCAIsGoodForItsNameAlone(t *testing.T) {
	now := time.Now()
	ca, _ := pair(t, now)
	foreign, err := IssueLeaf(ca, "kubernetes.default.svc", now, time.Hour)
	require.NoError(t, err)
	require.ErrorContains(t, Bundle{ca.Certificate}.Verify(foreign.Certificate, "kubernetes.default.svc", now), "not permitted")
}

func TestLeafEndsWithItsCA(t *testing.T) {
	now := time.Now()
	ca, err := NewCA(name, now, time.Hour)
	require.NoError(t, err)
	leaf, err := IssueLeaf(ca, name, now, 2*time.Hour)
	require.NoError(t, err)
	require.Equal(t, ca.Certificate.NotAfter, leaf.Certificate.NotAfter)
	_, err = IssueLeaf(leaf, name, now, time.Hour)
	require.ErrorContains(t, err, "not a CA")
}

func TestDueAtAThird(t *testing.T) {
	now := time.Now()
	_, leaf := pair(t, now)
	require.False(t, Due(leaf.Certificate, now.Add(20*24*time.Hour-time.Minute)), "the hours before the issue do not count")
	require.True(t, Due(leaf.Certificate, now.Add(20*24*time.Hour)))
	require.True(t, Due(leaf.Certificate, now.Add(60*24*time.Hour)))
}

func TestParsePairRefuses(t *testing.T) {
	ca, leaf := pair(t, time.Now())
	for name, c := range map[string][2][]byte{
		"nothing":        {},
		"another's key":  {leaf.CertPEM, ca.KeyPEM},
		"key twice":      {leaf.KeyPEM, leaf.KeyPEM},
		"cut off":        {leaf.CertPEM[:len(leaf.CertPEM)/2], leaf.KeyPEM},
		"no certificate": {nil, leaf.KeyPEM},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePair(c[0], c[1])
			require.Error(t, err)
		})
	}
}

func TestBundleRoundTrip(t *testing.T) {
	now := time.Now()
	one, leaf := pair(t, now)
	two, _ := pair(t, now)
	bundle := Bundle{one.Certificate}.With(two.Certificate, one.Certificate)
	require.Len(t, bundle, 2)
	read, err := ParseBundle(bundle.PEM())
	require.NoError(t, err)
	require.Equal(t, bundle.PEM(), read.PEM())
	require.Empty(t, read.Unexpired(now.Add(91*24*time.Hour)))

	for name, data := range map[string][]byte{"text": []byte("x"), "a key": leaf.KeyPEM, "text after": append(bundle.PEM(), 'x')} {
		_, err := ParseBundle(data)
		require.Error(t, err, name)
	}
}

func FuzzParseBundle(f *testing.F) {
	ca, err := NewCA(name, time.Now(), time.Hour)
	require.NoError(f, err)
	f.Add(ca.CertPEM)
	f.Add(ca.KeyPEM)
	f.Fuzz(func(t *testing.T, data []byte) {
		bundle, err := ParseBundle(data)
		if err != nil {
			return
		}
		again, err := ParseBundle(bundle.PEM())
		require.NoError(t, err)
		require.Equal(t, bundle.PEM(), again.PEM())
	})
}

package authorization_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubevirt-hypervisor-exporter/internal/certificate/pki"
)

type assertT = assert.CollectT

// foreignAuthority is one that has signed nothing here.
func foreignAuthority(t *testing.T) []byte {
	t.Helper()
	authority, err := pki.NewCA("foreign", time.Now(), time.Hour)
	require.NoError(t, err)
	return authority.CertPEM
}

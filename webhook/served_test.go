package main

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestServedCertificate: a certificate is asked for when it is another one, or when what
// is known is old.
func TestServedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served servedCertificate
		var result error
		asked := 0
		check := func(raw string) error {
			return served.check(t.Context(), &x509.Certificate{Raw: []byte(raw)}, func(context.Context, *x509.Certificate) error {
				asked++
				return result
			})
		}
		require.NoError(t, check("a"))
		result = errors.New("not served")
		require.NoError(t, check("a"), "believed")
		require.Error(t, check("b"), "another one is not")
		result = nil
		require.Error(t, check("b"), "believed for a moment")
		require.Equal(t, 2, asked)
		time.Sleep(believeNotServed)
		require.NoError(t, check("b"))
		time.Sleep(believeServed)
		result = errors.New("gone")
		require.Error(t, check("b"))
		require.Equal(t, 4, asked)
	})
}

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"kubevirt-hypervisor-exporter/sidecar/exposition"
)

// healthTimeout bounds a health check as a whole.
const healthTimeout = 3 * time.Second

// checkHealth asks the sidecar that listens on the address whether it serves.
// With a web configuration it tries TLS first, and takes "unauthorized" for the
// sign of life that it is.
func checkHealth(listen, webConfigFile string) error {
	schemes := []string{"http"}
	if webConfigFile != "" {
		schemes = []string{"https", "http"} // the file can be about passwords alone
	}
	var err error
	for _, scheme := range schemes {
		if err = askHealth(scheme, listen); err == nil {
			return nil
		}
	}
	return fmt.Errorf("healthcheck of %s: %w", listen, err)
}

func askHealth(scheme, listen string) error {
	network, address := exposition.DialAddress(listen)
	client := http.Client{
		Timeout: healthTimeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, address)
			},
			// Whose certificate it is does not matter: nothing secret is sent.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
	}
	response, err := client.Get(scheme + "://sidecar/healthz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK, http.StatusUnauthorized:
		return nil
	default:
		return fmt.Errorf("answered %s", response.Status)
	}
}

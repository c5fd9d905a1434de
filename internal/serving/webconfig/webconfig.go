// Package webconfig serves with a web configuration file of Prometheus'
// exporter-toolkit, which can enable TLS and passwords. It is apart from package serving
// because the webhook has no use for it, nor for its dependencies.
package webconfig

import (
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/exporter-toolkit/web"
)

// Start returns a serving.Config's Start. The file is read again for each request and
// handshake; "" is none.
func Start(file string, logger *slog.Logger) func(*http.Server, net.Listener) error {
	return func(server *http.Server, on net.Listener) error {
		return web.Serve(on, server, &web.FlagConfig{WebConfigFile: &file}, logger)
	}
}

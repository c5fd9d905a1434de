package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/internal/serving/webconfig"
	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/routes"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

// reviewTime is what the two questions to the API server may take beside a scrape.
const reviewTime = 6 * time.Second

// serve puts the parts together and serves until ctx ends.
func serve(ctx context.Context, o *options, logger *slog.Logger) error {
	registry := newRegistry()
	api, err := apiServer(o)
	if err != nil {
		return err
	}
	protect, closeReviewer := protection(api, registry, logger)
	defer closeReviewer()
	pods := podsocket.New(o.podsDir)
	if err := pods.Denied(); err != nil {
		logger.Info("openat2 is not allowed here; sockets are found step by step, which is as safe", "err", err)
	}
	source := certificateSource(o, registry, logger)
	config, err := serverConfig(o, source, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.listenAddress)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// The port is open, and no byte of a stranger's has been read.
	confineProcess(o, api, logger)
	reportMounts(o.podsDir, logger)
	folder := newKubeletFolder(o.podsDir, pods, o.podUID, logger)
	handler := routes.NewHandler(routes.Routes{
		Pods: scrape.NewHandler(scrape.Config{
			Pods:             pods,
			Timeout:          o.timeout,
			MaxResponseBytes: o.maxResponseBytes,
			MaxInFlight:      o.maxInFlight,
			MaxInFlightPod:   o.maxInFlightPod,
			Registry:         registry,
			Logger:           logger,
		}),
		Registry: registry,
		Protect:  protect,
		Ready:    readiness(ctx, folder, source),
		Logger:   logger,
	})
	logger.Info("serving", "address", listener.Addr().String(), "tls", source != nil || o.webConfigFile != "", "authorization", o.authorization, "pods_dir", o.podsDir)
	return runAll(ctx, source, func() error { return serving.Serve(ctx, listener, handler, config) })
}

// runAll serves; the certificate is kept current until the last request has ended.
func runAll(ctx context.Context, source certificate.Source, serve func() error) error {
	var background sync.WaitGroup
	defer background.Wait()
	until, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if source != nil {
		background.Go(func() { _ = source.Run(until) }) // only ends with until
	}
	return serve()
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("hypervisor_exporter_relay"),
	)
	return registry
}

// protection makes what puts a handler behind a right.
func protection(api *authorization.APIServer, registry prometheus.Registerer, logger *slog.Logger) (protect func(string, http.Handler) http.Handler, done func()) {
	if api == nil {
		return func(_ string, next http.Handler) http.Handler { return next }, func() {}
	}
	client := authorization.NewClient(*api)
	guard := authorization.NewGuard(authorization.NewCache(client, time.Now, logger), registry)
	return guard.Protect, client.Close
}

// certificateSource is nil where TLS is not served from the two files.
func certificateSource(o *options, registry prometheus.Registerer, logger *slog.Logger) certificate.Source {
	if o.certFile == "" {
		return nil
	}
	source := certificate.NewFileSource(o.certFile, o.keyFile, certificate.DefaultPoll, time.Now, logger)
	registry.MustRegister(certificate.NewCollector("hypervisor_exporter_relay_certificate_not_after_timestamp_seconds", source))
	return source
}

// limits and headerBytes fit the DaemonSet's 80 MiB: internal/testkit/flood. Prometheus has
// as many connections as it makes scrapes at a time.
func limits(o *options) (limits serving.Limits, headerBytes int) {
	if o.authorization == none {
		return serving.Limits{Connections: 160, PerSource: 96, New: 64}, 1 << 10
	}
	// Each connection of Prometheus is trusted from its first scrape on. A token has up to
	// 8 KiB.
	return serving.Limits{Connections: 64, PerSource: 32, New: 32, Trusted: 256}, 8 << 10
}

func serverConfig(o *options, source certificate.Source, logger *slog.Logger) (serving.Config, error) {
	limits, headerBytes := limits(o)
	config := serving.Config{
		Limits:         limits,
		MaxHeaderBytes: headerBytes,
		ReadTimeout:    5 * time.Second,
		// A scrape must fit in, and the question whether it is allowed.
		WriteTimeout: o.timeout + reviewTime,
		// Longer than Prometheus' 5 minutes (common/config, http_config.go).
		IdleTimeout: 6 * time.Minute,
		Drain:       drain,
		Logger:      logger,
	}
	if o.webConfigFile != "" {
		config.Start = webconfig.Start(o.webConfigFile, logger)
	}
	if source == nil {
		return config, nil
	}
	getCertificate, err := certificate.WithProvisional(source)
	config.TLS = &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: getCertificate,
		// A resumed session would go on with the certificate it began with.
		SessionTicketsDisabled: true,
	}
	return config, err
}

// readiness is nil when a scrape could go through as far as this node is
// concerned. The API server is not asked: known scrapers go on without it.
func readiness(running context.Context, folder *kubeletFolder, source certificate.Source) func(context.Context) error {
	return func(context.Context) error {
		if running.Err() != nil {
			return errors.New("shutting down")
		}
		if source != nil {
			if err := source.Healthy(); err != nil {
				return fmt.Errorf("certificate: %w", err)
			}
		}
		return folder.Err()
	}
}

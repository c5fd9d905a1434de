package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/node"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/scrape"
)

// serviceAccount is where the kubelet mounts the pod's service account.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// The bounds of scrapes.
const (
	// scrapeTime is how long a scrape may take, unless the scraper's own timeout is shorter.
	scrapeTime = 10 * time.Second
	// reviewTime is how long the two questions to the API server may take before that.
	reviewTime = 6 * time.Second
	// maxResponseBytes bounds a pod's page as it is sent. The sidecar's has 3 kB.
	maxResponseBytes = 256 << 10
	maxInFlight      = 256
	maxInFlightPod   = 4
	// drain is how long scrapes under way may go on after SIGTERM. Most take a
	// millisecond; the kubelet waits for 30 s.
	drain = 5 * time.Second
)

// serve puts the parts together and serves until ctx ends.
func serve(ctx context.Context, o *options, logger *slog.Logger) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("hypervisor_exporter_relay"),
		node.NewCollector(os.DirFS("/")),
	)
	api, protect, closeClient, err := authorizer(o, registry, logger)
	if err != nil {
		return err
	}
	defer closeClient()
	pods := podsocket.New(o.podsDir)
	source := certificateSource(o, registry, logger)
	config := serverConfig(o, logger)
	if source != nil {
		if config.TLS, err = tlsConfig(source); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", o.listenAddress)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	// The port is open, and nothing that anyone sent has been read.
	confineProcess(o, api, logger)
	reportMounts(o.podsDir, logger)
	folder := newKubeletFolder(o.podsDir, pods, podsocket.UID(o.podUID), logger)
	pages := scrape.NewHandler(scrape.Config{
		Pods:             pods,
		Timeout:          scrapeTime,
		MaxResponseBytes: maxResponseBytes,
		MaxInFlight:      maxInFlight,
		MaxInFlightPod:   maxInFlightPod,
		Registry:         registry,
		Logger:           logger,
	})
	handler := newRoutes(pages, registry, protect, readiness(ctx, folder, source), logger)
	logger.Info("serving", "address", listener.Addr().String(), "tls", source != nil, "authorization", o.authorization, "pods_dir", o.podsDir)
	if source == nil {
		return serving.Serve(ctx, listener, handler, config)
	}
	// The certificate is kept current until the last request has ended.
	var background sync.WaitGroup
	defer background.Wait()
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	background.Go(func() { _ = source.Run(renewing) }) // only ends with renewing
	return serving.Serve(ctx, listener, handler, config)
}

// authorizer returns the API server to ask, nil with --authorization=none; what protects a handler; and
// what closes the connections to the API server.
func authorizer(o *options, registry prometheus.Registerer, logger *slog.Logger) (*authorization.APIServer, protector, func(), error) {
	if o.authorization == none {
		return nil, func(_ string, next http.Handler) http.Handler { return next }, func() {}, nil
	}
	api, err := authorization.InCluster(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"), serviceAccount)
	if err != nil {
		return nil, nil, nil, err
	}
	client := authorization.NewClient(api)
	guard := authorization.NewGuard(authorization.NewCache(client, time.Now, logger), registry)
	return &api, guard.Protect, client.Close, nil
}

// serverConfig returns limits that fit the DaemonSet's 80 MiB (internal/testkit/flood). Prometheus has
// as many connections as it makes scrapes at a time.
func serverConfig(o *options, logger *slog.Logger) serving.Config {
	config := serving.Config{
		// Each connection of Prometheus is trusted from its first scrape on. A token has up to 8 KiB.
		Limits:         serving.Limits{Connections: 64, PerSource: 32, New: 32, Trusted: 256},
		MaxHeaderBytes: 8 << 10,
		ReadTimeout:    5 * time.Second,
		WriteTimeout:   scrapeTime + reviewTime,
		// Longer than Prometheus' 5 minutes (common/config, http_config.go).
		IdleTimeout: 6 * time.Minute,
		Drain:       drain,
		Logger:      logger,
	}
	if o.authorization == none {
		config.Limits = serving.Limits{Connections: 160, PerSource: 96, New: 64}
		config.MaxHeaderBytes = 1 << 10
	}
	return config
}

// certificateSource returns nil without the two files.
func certificateSource(o *options, registry prometheus.Registerer, logger *slog.Logger) certificate.Source {
	if o.certFile == "" {
		return nil
	}
	source := certificate.NewFileSource(o.certFile, o.keyFile, certificate.DefaultPoll, time.Now, logger)
	registry.MustRegister(certificate.NewCollector("hypervisor_exporter_relay_certificate_not_after_timestamp_seconds", source))
	return source
}

// tlsConfig serves the source's certificate.
func tlsConfig(source certificate.Source) (*tls.Config, error) {
	getCertificate, err := certificate.WithProvisional(source)
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: getCertificate,
		// A resumed session would go on with the certificate it began with.
		SessionTicketsDisabled: true,
	}, err
}

// readiness returns what is nil when a scrape could go through as far as this node is
// concerned. It does not ask the API server: known scrapers go on without it.
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

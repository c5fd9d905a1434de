package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"kubevirt-hypervisor-exporter/relay/authorization"
	"kubevirt-hypervisor-exporter/relay/podsocket"
	"kubevirt-hypervisor-exporter/relay/scrape"
	"kubevirt-hypervisor-exporter/relay/serving"
	"kubevirt-hypervisor-exporter/webhook/certs"
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
	source := certificate(o, registry, logger)
	config, err := serverConfig(o, source, logger)
	if err != nil {
		return err
	}
	server, err := serving.Listen(config)
	if err != nil {
		return err
	}
	// The port is open, and no byte of a stranger's has been read.
	confineProcess(o, api, logger)
	handler := serving.NewHandler(serving.Routes{
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
		Ready:    readiness(server, pods, source),
		Logger:   logger,
	})
	logger.Info("serving", "address", server.Address(), "tls", source != nil || o.webConfigFile != "", "authorization", o.authorization, "pods_dir", o.podsDir)
	return runAll(ctx, server, handler, source)
}

// runAll serves; the certificate is kept current until the last request has ended.
func runAll(ctx context.Context, server *serving.Server, handler http.Handler, source certs.Source) error {
	var background sync.WaitGroup
	defer background.Wait()
	until, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if source != nil {
		background.Go(func() { _ = source.Run(until) }) // only ends with until
	}
	return server.Run(ctx, handler)
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

// certificate is nil where TLS is not served from the two files.
func certificate(o *options, registry prometheus.Registerer, logger *slog.Logger) certs.Source {
	if o.certFile == "" {
		return nil
	}
	source := certs.NewFileSource(o.certFile, o.keyFile, certs.DefaultPoll, logger)
	registry.MustRegister(certificateCollector(source))
	return source
}

func serverConfig(o *options, source certs.Source, logger *slog.Logger) (serving.Config, error) {
	config := serving.Config{
		Address:       o.listenAddress,
		WebConfigFile: o.webConfigFile,
		Timeout:       o.timeout + reviewTime,
		Drain:         drain,
		Logger:        logger,
	}
	if source == nil {
		return config, nil
	}
	first, err := newProvisional(source)
	config.Certificate = first.GetCertificate
	return config, err
}

// readiness is nil when a scrape could go through as far as this node is
// concerned. The API server is not asked: known scrapers go on without it.
func readiness(server *serving.Server, pods *podsocket.Pods, source certs.Source) func(context.Context) error {
	return func(context.Context) error {
		if server.Draining() {
			return errors.New("shutting down")
		}
		if source != nil {
			if err := source.Healthy(); err != nil {
				return fmt.Errorf("certificate: %w", err)
			}
		}
		return pods.Check()
	}
}

package main

import (
	"net"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// certificateMetric is when the serving certificate ends.
const certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"

// serveFlags are named as those of Kubernetes' own servers
// (k8s.io/apiserver SecureServingOptions, controller-runtime).
type serveFlags struct {
	sidecar         sidecarFlags
	log             logFlags
	bindAddress     string
	securePort      int
	certFile        string
	keyFile         string
	tlsMinVersion   string
	metricsAddress  string
	probeAddress    string
	shutdownDelay   time.Duration
	shutdownTimeout time.Duration
}

func newServeCommand() *cobra.Command {
	var f serveFlags
	command := &cobra.Command{
		Use:   "serve",
		Short: "Answer the API server's admission requests",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := command.Flags()
	f.sidecar.add(flags, "")
	f.log.add(flags)
	flags.StringVar(&f.bindAddress, "bind-address", "", "address for --secure-port; empty is every one")
	flags.IntVar(&f.securePort, "secure-port", 8443, "port for the API server, HTTPS")
	flags.StringVar(&f.certFile, "tls-cert-file", "", "file with the serving certificate, read again when it changes (required)")
	flags.StringVar(&f.keyFile, "tls-private-key-file", "", "file with its key, read again when it changes (required)")
	flags.StringVar(&f.tlsMinVersion, "tls-min-version", "VersionTLS13", "VersionTLS13 or VersionTLS12")
	flags.StringVar(&f.metricsAddress, "metrics-bind-address", ":8080", "address for /metrics, HTTP")
	flags.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "address for /healthz and /readyz, HTTP")
	flags.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second, "how long to go on serving, not ready, after SIGTERM: others need the time to learn that this replica goes")
	flags.DurationVar(&f.shutdownTimeout, "shutdown-timeout", 5*time.Second, "how long admissions in flight may take after that")
	for _, name := range []string{"sidecar-image", "tls-cert-file", "tls-private-key-file"} {
		_ = command.MarkFlagRequired(name) // fails for an unknown flag only
	}
	return command
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	logger := f.log.logger(cmd.ErrOrStderr())
	config, err := f.sidecar.parse()
	if err != nil {
		return err
	}
	if err := refuseUnset(config.Image); err != nil {
		return err
	}
	minVersion, err := tlsVersion(f.tlsMinVersion)
	if err != nil {
		return err
	}
	registry := newRegistry()
	source := certificate.NewFileSource(f.certFile, f.keyFile, certificate.DefaultPoll, time.Now, logger)
	registry.MustRegister(certificate.NewCollector(certificateMetric, source))
	decide := func(pod *inject.Pod) inject.Decision { return inject.Decide(config, pod) }
	server := &server{
		source:          source,
		handler:         admission.NewHandler(decide, admission.NewMetrics(registry), logger),
		registry:        registry,
		logger:          logger,
		minVersion:      minVersion,
		shutdownDelay:   f.shutdownDelay,
		shutdownTimeout: f.shutdownTimeout,
	}
	addresses := addresses{
		admission: net.JoinHostPort(f.bindAddress, strconv.Itoa(f.securePort)),
		metrics:   f.metricsAddress,
		probes:    f.probeAddress,
	}
	if err := server.listen(addresses); err != nil {
		return err
	}
	logger.Info("serving", "address", server.admission.Addr().String(), "sidecar_image", config.Image)
	return server.run(cmd.Context())
}

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		versioncollector.NewCollector("hypervisor_exporter_webhook"),
	)
	return registry
}

package main

import (
	"net"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"kubevirt-hypervisor-exporter/internal/certificate"
	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/webhook/admission"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// certificateMetric is when the serving certificate ends.
const certificateMetric = "hypervisor_exporter_webhook_certificate_not_after_timestamp_seconds"

// serveFlags have the names that Kubernetes' own servers use (k8s.io/apiserver
// SecureServingOptions, controller-runtime).
type serveFlags struct {
	config        inject.Config
	logging       commandline.Logging
	bindAddress   string
	securePort    int
	certFile      string
	keyFile       string
	operations    operationsFlags
	shutdownDelay time.Duration
}

func newServeCommand() *cobra.Command {
	f := serveFlags{config: inject.Default("")}
	command := &cobra.Command{
		Use:   "serve",
		Short: "Answer the API server's admission requests",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := command.Flags()
	f.config.AddFlags(flags)
	f.logging.Add(flags)
	f.operations.add(flags)
	flags.StringVar(&f.bindAddress, "bind-address", "", "address for --secure-port; empty is every address")
	flags.IntVar(&f.securePort, "secure-port", 8443, "port for the API server, HTTPS")
	flags.StringVar(&f.certFile, "tls-cert-file", "", "file with the serving certificate, read again when it changes (required)")
	flags.StringVar(&f.keyFile, "tls-private-key-file", "", "file with its key, read again when it changes (required)")
	flags.DurationVar(&f.shutdownDelay, "shutdown-delay", 5*time.Second,
		"how long to keep serving, not ready, after SIGTERM, so that others stop sending requests to this replica")
	for _, name := range []string{"sidecar-image", "tls-cert-file", "tls-private-key-file"} {
		_ = command.MarkFlagRequired(name) // fails only for an unknown flag
	}
	return command
}

func (f *serveFlags) run(cmd *cobra.Command) error {
	if err := f.config.Validate(); err != nil {
		return commandline.Usage(err)
	}
	if err := f.config.RefuseUnset(); err != nil {
		return commandline.Usage(err)
	}
	logger, registry := f.logging.Logger(cmd.ErrOrStderr()), newRegistry()
	source := certificate.NewFileSource(f.certFile, f.keyFile, certificate.DefaultPoll, time.Now, logger)
	registry.MustRegister(certificate.NewCollector(certificateMetric, source))
	decide := func(pod *inject.Pod) inject.Decision { return inject.Decide(f.config, pod) }
	server := &server{
		source:          source,
		handler:         admission.NewHandler(decide, admission.NewMetrics(registry), logger),
		registry:        registry,
		logger:          logger,
		shutdownDelay:   func() { time.Sleep(f.shutdownDelay) },
		shutdownTimeout: 5 * time.Second,
	}
	err := server.listen(net.JoinHostPort(f.bindAddress, strconv.Itoa(f.securePort)), f.operations)
	if err != nil {
		return err
	}
	logger.Info("serving", "address", server.admission.Addr().String(), "sidecar_image", f.config.Image)
	return server.run(cmd.Context())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"kubevirt-hypervisor-exporter/internal/serving"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// The certificates stand still when nothing has succeeded for staleAfter, and
// the process hangs when it has not even tried for hungAfter.
const (
	staleAfter = 5 * time.Minute
	hungAfter  = 10 * time.Minute
)

// leastLifetime leaves 20 s between renewal and end, in which a mounted Secret has to
// arrive. Clocks that are off need more; the flag says how much.
const leastLifetime = time.Minute

type certsFlags struct {
	log             logFlags
	names           certs.Names
	service         string
	headlessService string
	replicaPort     int
	caLifetime      time.Duration
	leafLifetime    time.Duration
	settle          time.Duration
	relay           relayFlags
	metricsAddress  string
	probeAddress    string
}

func newCertsCommand() *cobra.Command {
	var f certsFlags
	command := &cobra.Command{
		Use:   "certs",
		Short: "Make and renew the certificates of webhook and relay; needs a service account",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := command.Flags()
	f.log.add(flags)
	flags.StringVar(&f.names.Namespace, "namespace", "hypervisor-exporter", "namespace of the webhook and its Secrets")
	flags.StringVar(&f.names.ServingSecret, "secret", "hypervisor-exporter-webhook-tls", "existing Secret for the serving certificate, mounted by the webhook; empty: no webhook")
	flags.StringVar(&f.names.CASecret, "ca-secret", "hypervisor-exporter-webhook-ca", "existing Secret for the CA and its key, which no pod mounts")
	flags.StringVar(&f.names.WebhookConfiguration, "webhook-configuration", "hypervisor-exporter", "MutatingWebhookConfiguration whose caBundle is kept")
	flags.StringVar(&f.service, "service", "hypervisor-exporter-webhook", "Service that the API server calls")
	flags.StringVar(&f.headlessService, "headless-service", "hypervisor-exporter-webhook-replicas", "headless Service over the same pods, to ask each what it serves")
	flags.IntVar(&f.replicaPort, "replica-port", 8443, "port of the pods behind it")
	flags.DurationVar(&f.caLifetime, "ca-lifetime", 90*24*time.Hour, "life of a CA; renewed when a third is left")
	flags.DurationVar(&f.leafLifetime, "leaf-lifetime", 30*24*time.Hour, "life of a serving certificate; renewed when a third is left (under 13h, a clock that is two hours off may refuse it)")
	flags.DurationVar(&f.settle, "settle", 30*time.Second, "how long a change is left to spread before the next relies on it")
	f.relay.add(flags)
	flags.StringVar(&f.metricsAddress, "metrics-bind-address", ":8080", "address for /metrics, HTTP")
	flags.StringVar(&f.probeAddress, "health-probe-bind-address", ":8081", "address for /healthz and /readyz, HTTP")
	return command
}

func (f *certsFlags) validate() error {
	switch {
	case f.leafLifetime < leastLifetime:
		return fmt.Errorf("--leaf-lifetime: want %v or more: a shorter one would end before its successor is everywhere", leastLifetime)
	case f.caLifetime < f.leafLifetime:
		return errors.New("--ca-lifetime: want --leaf-lifetime or more, or every leaf would be cut short")
	case f.settle < 0:
		return errors.New("--settle: want 0 or more")
	case f.names.ServingSecret == "" && f.relay.names.ServingSecret == "":
		return errors.New("neither --secret nor --relay-secret: there is nothing to do")
	}
	return f.relay.validate()
}

func (f *certsFlags) run(cmd *cobra.Command) error {
	if err := f.validate(); err != nil {
		return err
	}
	logger := f.log.logger(cmd.ErrOrStderr())
	klog.SetSlogLogger(logger) // client-go logs with klog
	config, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w: this command runs in a pod with a service account", err)
	}
	registry := newRegistry()
	rotators, err := f.rotators(config, registry, logger)
	if err != nil {
		return err
	}

	ports, err := listenAll(f.metricsAddress, f.probeAddress)
	if err != nil {
		return err
	}
	probes := probeHandler(
		func(context.Context) error { return each(rotators, hungAfter, (*certs.Rotator).Tried) },
		func(context.Context) error { return each(rotators, staleAfter, (*certs.Rotator).Succeeded) },
	)
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	var running sync.WaitGroup
	for i, handler := range []http.Handler{metricsHandler(registry), probes} {
		running.Go(func() { stop(serving.Serve(ctx, ports[i], handler, plainConfig(logger))) })
	}
	for _, rotator := range rotators {
		running.Go(func() { _ = rotator.Run(ctx) }) // only ends with ctx
	}
	running.Wait()
	if cmd.Context().Err() == nil {
		return context.Cause(ctx)
	}
	return nil
}

// rotators are those of the webhook's certificates and of the relay's, each unless
// it is left out.
func (f *certsFlags) rotators(config *rest.Config, registry prometheus.Registerer, logger *slog.Logger) ([]*certs.Rotator, error) {
	policy := certs.Policy{CALifetime: f.caLifetime, LeafLifetime: f.leafLifetime}
	var all []*certs.Rotator
	if f.names.ServingSecret != "" {
		objects, err := certs.NewKubeStore(config, f.names, logger)
		if err != nil {
			return nil, err
		}
		policy.DNSName, policy.Settle = f.service+"."+f.names.Namespace+".svc", f.settle
		all = append(all, certs.New(policy, objects, certs.Replicas{
			Lookup:     net.DefaultResolver.LookupHost,
			Host:       f.headlessService + "." + f.names.Namespace + ".svc",
			Port:       strconv.Itoa(f.replicaPort),
			ServerName: policy.DNSName,
		}, time.Now, certs.NewMetrics(labelled("webhook", registry)), logger.With("serves", "webhook")))
	}
	if f.relay.names.ServingSecret != "" {
		objects, err := certs.NewKubeStore(config, f.relay.names, logger)
		if err != nil {
			return nil, err
		}
		policy.DNSName, policy.Settle = f.relay.serverName, f.relay.settle
		all = append(all, certs.New(policy, objects, certs.Relays{}, time.Now,
			certs.NewMetrics(labelled("relay", registry)), logger.With("serves", "relay")))
	}
	return all, nil
}

// labelled labels a rotation's metrics with whose certificates they are about.
func labelled(who string, registry prometheus.Registerer) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"serves": who}, registry)
}

func each(rotators []*certs.Rotator, within time.Duration, check func(*certs.Rotator, time.Duration) error) error {
	var all []error
	for _, rotator := range rotators {
		all = append(all, check(rotator, within))
	}
	return errors.Join(all...)
}

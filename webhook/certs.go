package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"kubevirt-hypervisor-exporter/internal/commandline"
	"kubevirt-hypervisor-exporter/webhook/certs"
)

// The process is not ready if nothing has succeeded for staleAfter, and not alive if it has not
// even tried for hungAfter.
const (
	staleAfter = 5 * time.Minute
	hungAfter  = 10 * time.Minute
)

// leastLifetime leaves 20 s between renewal and end for a mounted Secret to arrive. Clocks that
// are off need more; the flag says how much.
const leastLifetime = time.Minute

type certsFlags struct {
	logging         commandline.Logging
	operations      operationsFlags
	names           certs.Names
	service         string
	headlessService string
	replicaPort     int
	caLifetime      time.Duration
	leafLifetime    time.Duration
	settle          time.Duration
	relayNames      certs.Names
	relayServerName string
	relaySettle     time.Duration
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
	f.logging.Add(flags)
	f.operations.add(flags)
	flags.StringVar(&f.names.Namespace, "namespace", "hypervisor-exporter", "namespace of the webhook and its Secrets")
	flags.StringVar(&f.names.ServingSecret, "secret", "hypervisor-exporter-webhook-tls",
		"existing Secret for the serving certificate, mounted by the webhook; empty: no webhook")
	flags.StringVar(&f.names.CASecret, "ca-secret", "hypervisor-exporter-webhook-ca",
		"existing Secret for the CA and its key, which no pod mounts")
	flags.StringVar(&f.names.WebhookConfiguration, "webhook-configuration", "hypervisor-exporter",
		"MutatingWebhookConfiguration whose caBundle is kept up to date")
	flags.StringVar(&f.service, "service", "hypervisor-exporter-webhook", "Service that the API server calls")
	flags.StringVar(&f.headlessService, "headless-service", "hypervisor-exporter-webhook-replicas",
		"headless Service over the same pods, to check what each of them serves")
	flags.IntVar(&f.replicaPort, "replica-port", 8443, "port of these pods")
	flags.DurationVar(&f.caLifetime, "ca-lifetime", 90*24*time.Hour, "lifetime of a CA; renewed when a third is left")
	flags.DurationVar(&f.leafLifetime, "leaf-lifetime", 30*24*time.Hour,
		"lifetime of a serving certificate; renewed when a third is left (under 13h, a clock that is two hours off may refuse it)")
	flags.DurationVar(&f.settle, "settle", 30*time.Second, "how long a change may take to spread before the next one relies on it")
	flags.StringVar(&f.relayNames.Namespace, "relay-namespace", "hypervisor-exporter-relay", "namespace of the relay, its Secrets and its ConfigMap")
	flags.StringVar(&f.relayNames.ServingSecret, "relay-secret", "", "existing Secret for the relay's certificate; empty: no relay")
	flags.StringVar(&f.relayNames.CASecret, "relay-ca-secret", "hypervisor-exporter-relay-ca",
		"existing Secret for the relay's CA and its key, which no pod mounts")
	flags.StringVar(&f.relayNames.TrustConfigMap, "relay-ca-configmap", "hypervisor-exporter-relay-ca",
		"existing ConfigMap for the CAs that Prometheus trusts, in ca.crt")
	flags.StringVar(&f.relayServerName, "relay-server-name", "hypervisor-exporter-relay.hypervisor-exporter-relay.svc",
		"name by which Prometheus verifies the relay")
	flags.DurationVar(&f.relaySettle, "relay-settle", 10*time.Minute,
		"as --settle, for the relay: kubelets and the Prometheus operator need time to distribute Secret and ConfigMap")
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
	case f.relaySettle < 0:
		return errors.New("--relay-settle: want 0 or more")
	case f.names.ServingSecret == "" && f.relayNames.ServingSecret == "":
		return errors.New("neither --secret nor --relay-secret: there is nothing to do")
	}
	return nil
}

func (f *certsFlags) run(cmd *cobra.Command) error {
	if err := f.validate(); err != nil {
		return commandline.Usage(err)
	}
	logger := f.logging.Logger(cmd.ErrOrStderr())
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
	ports, err := listenAll(f.operations.metrics, f.operations.probes)
	if err != nil {
		return err
	}
	operations := operations{
		metrics: ports[0], probes: ports[1], registry: registry, logger: logger,
		alive: func(context.Context) error { return each(rotators, hungAfter, (*certs.Rotator).Tried) },
		ready: func(context.Context) error { return each(rotators, staleAfter, (*certs.Rotator).Succeeded) },
	}

	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	for _, rotator := range rotators {
		running.Go(func() { _ = rotator.Run(ctx) }) // only ends with ctx
	}
	return operations.serve(ctx)
}

// rotators returns one for the webhook's certificates and one for the relay's, without the one
// whose Secret is not named.
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
	if f.relayNames.ServingSecret != "" {
		objects, err := certs.NewKubeStore(config, f.relayNames, logger)
		if err != nil {
			return nil, err
		}
		policy.DNSName, policy.Settle = f.relayServerName, f.relaySettle
		all = append(all, certs.New(policy, objects, certs.Relays{}, time.Now,
			certs.NewMetrics(labelled("relay", registry)), logger.With("serves", "relay")))
	}
	return all, nil
}

// labelled labels a rotation's metrics with the program that serves the certificates.
func labelled(program string, registry prometheus.Registerer) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"serves": program}, registry)
}

func each(rotators []*certs.Rotator, within time.Duration, check func(*certs.Rotator, time.Duration) error) error {
	var all []error
	for _, rotator := range rotators {
		all = append(all, check(rotator, within))
	}
	return errors.Join(all...)
}

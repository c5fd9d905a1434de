package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/webhook/inject"
)

// webhookConfig returns the webhook's configuration, or its defaults if it cannot be read: the owner of a namespace may not
// read it.
func (s *session) webhookConfig(ctx context.Context) inject.Config {
	namespace := s.exporter
	if namespace == "" {
		at, err := s.cluster.Installation(ctx)
		if err != nil || at.Webhook == nil {
			return cluster.DefaultConfig()
		}
		namespace = at.Exporter
	}
	deployment, err := cluster.Get(ctx, s.cluster.AppsV1().Deployments(namespace).Get, cluster.Webhook)
	if err != nil {
		return cluster.DefaultConfig()
	}
	config, err := cluster.ConfigOf(deployment)
	if err != nil {
		s.note(err.Error())
		return cluster.DefaultConfig()
	}
	return config
}

// relayNamespace returns the namespace of the relay: that of the flag, or where it is found.
func (s *session) relayNamespace(ctx context.Context) (string, error) {
	if s.relay != "" {
		return s.relay, nil
	}
	at, err := s.cluster.Installation(ctx)
	if err != nil {
		return "", fmt.Errorf("find the relay (--relay-namespace names its namespace): %w", err)
	}
	found, err := s.cluster.RelayNamespace(ctx, at)
	if err == nil && found == "" {
		err = errors.New("there is none in the namespaces of the installation")
	}
	if err != nil {
		return "", fmt.Errorf("find the relay (--relay-namespace names its namespace): %w", err)
	}
	return found, nil
}

// findInstallation fills in the namespaces of the installation, or those of the manifests if there is none. Without a relay,
// its stays empty.
func (s *session) findInstallation(ctx context.Context) error {
	at, err := s.cluster.Installation(ctx)
	if err != nil {
		return err
	}
	if at.Exporter == "" {
		s.exporter, s.relay = cmp.Or(s.exporter, cluster.ExporterNamespace), cmp.Or(s.relay, cluster.RelayNamespace)
		return nil
	}
	s.exporter = cmp.Or(s.exporter, at.Exporter)
	if s.relay == "" {
		s.relay, err = s.cluster.RelayNamespace(ctx, at)
	}
	return err
}

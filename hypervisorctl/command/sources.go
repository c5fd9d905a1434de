package command

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"

	clienttransport "k8s.io/client-go/transport"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
	"kubevirt-hypervisor-exporter/hypervisorctl/source"
)

// The values of --source.
const (
	sourceAuto       = "auto"
	sourcePrometheus = "prometheus"
	sourceRelay      = "relay"
	sourceExec       = "exec"
	sourceNone       = "none"
)

func sources() []string {
	return []string{sourceAuto, sourcePrometheus, sourceRelay, sourceExec, sourceNone}
}

// chooseSource returns the source of types that the user wants and may use, or nil and a note with the reason why there is
// none. A source that was named must work.
func (s *session) chooseSource(ctx context.Context, namespace string) (from source.Source, note string, err error) {
	switch {
	case s.source == sourceNone:
		return nil, "", nil
	case s.source == sourcePrometheus, s.source == sourceAuto && s.prometheus.url != "": // it is cheap
		from, err = s.prometheusSource(ctx, namespace)
		return from, "", err
	case s.source == sourceRelay:
		from, err = s.relaySource(ctx)
		return from, "", err
	case s.source == sourceExec: // it starts a process in the VM's pod, so auto never uses it
		return source.NewExec(s.config, s.cluster), "", nil
	default:
		from, err = s.relaySource(ctx)
		if err != nil {
			return nil, fmt.Sprintf("the relay cannot be used: %s; use --source=prometheus, or --source=exec if you own the namespace", err), nil
		}
		return from, "", nil
	}
}

func (s *session) prometheusSource(ctx context.Context, namespace string) (source.Source, error) {
	client, err := s.prometheus.client()
	if err != nil {
		return nil, err
	}
	return source.NewPrometheus(ctx, s.prometheus.url, namespace, client)
}

// client carries the credentials for Prometheus.
func (p prometheusFlags) client() (*http.Client, error) {
	if p.url == "" {
		return nil, errors.New("--source=prometheus needs --prometheus-url")
	}
	base := &http.Transport{Proxy: http.ProxyFromEnvironment}
	client := &http.Client{Transport: base, Timeout: requestTimeout}
	if p.caFile != "" {
		content, err := os.ReadFile(p.caFile)
		if err != nil {
			return nil, fmt.Errorf("--prometheus-ca-file: %w", err)
		}
		ca := x509.NewCertPool()
		if !ca.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("--prometheus-ca-file %s has no certificate", p.caFile)
		}
		base.TLSClientConfig = &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12}
	}
	if p.tokenFile != "" {
		withToken, err := clienttransport.NewBearerAuthWithRefreshRoundTripper("", p.tokenFile, base)
		if err != nil {
			return nil, fmt.Errorf("--prometheus-token-file: %w", err)
		}
		client.Transport = withToken
	}
	return client, nil
}

// relaySource needs the rights of the Role hypervisorctl-relay (rbac.yaml): a port-forward to the relay's pods, the CA of
// its certificate, and a token for it.
func (s *session) relaySource(ctx context.Context) (source.Source, error) {
	namespace, err := s.relayNamespace(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.cluster.MayCreate(ctx, "portforward", namespace); err != nil {
		return nil, err
	}
	pods, err := s.cluster.Pods(ctx, namespace, cluster.RelaySelector)
	if err != nil {
		return nil, err
	}
	byNode := map[string]string{}
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			byNode[pods[i].Spec.NodeName] = pods[i].Name
		}
	}
	if len(byNode) == 0 {
		return nil, fmt.Errorf("no relay runs in the namespace %s", namespace)
	}
	var givenCA []byte
	if s.relayCA != "" {
		if givenCA, err = os.ReadFile(s.relayCA); err != nil {
			return nil, fmt.Errorf("read --relay-ca-file: %w", err)
		}
	}
	trust, err := s.cluster.RelayTrust(ctx, namespace, givenCA)
	if err != nil {
		return nil, err
	}
	token := s.cluster.RelayToken(namespace)
	if trust.HTTPS { // so that a missing right is named once, and not for each VM
		if _, err := token(ctx); err != nil {
			return nil, err
		}
	}
	return source.NewRelay(source.RelayConfig{
		Config: s.config, Cluster: s.cluster, Namespace: namespace, Trust: trust, Pods: byNode, Token: token,
	})
}

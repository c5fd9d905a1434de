package charttest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit/apiservertest"
)

// helmClient is helm as the module ./helm or ./helm3 pins it; its dependencies never become ours.
type helmClient struct {
	path string
	// home keeps helm away from whatever the user of this machine has configured.
	home string
}

// buildHelm builds the program of the module, with the version of Kubernetes that Helm 3 assumes without a cluster; Helm's own
// build sets it in the same way.
func buildHelm(dir, module, program string) (helmClient, error) {
	c := helmClient{path: filepath.Join(dir, module), home: filepath.Join(dir, module+"-home")}
	const assumed = "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36"
	command := exec.Command("go", "build", "-ldflags", assumed, "-o", c.path, program)
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := command.CombinedOutput(); err != nil {
		return c, fmt.Errorf("build helm: %w\n%s", err, output)
	}
	return c, os.Mkdir(c.home, 0o700)
}

// run returns helm's standard output, and its standard error as an error if it fails.
func (c helmClient) run(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, c.path, args...)
	command.Env = []string{"HOME=" + c.home, "KUBECONFIG=/dev/null", "PATH=" + os.Getenv("PATH")}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// inCluster runs helm against the tests' API server.
func (c helmClient) inCluster(t *testing.T, args ...string) string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(ca, server.Config.CAData, 0o600))
	output, err := c.run(t.Context(), append(args,
		"--kube-apiserver="+server.Config.Host, "--kube-token="+server.Config.BearerToken, "--kube-ca-file="+ca)...)
	require.NoError(t, err)
	return output
}

// template renders the chart in the usual namespace and with the manifests' images; flags may name others.
func (c helmClient) template(ctx context.Context, flags ...string) (string, error) {
	return c.run(ctx, append([]string{"template", release, chart, "--namespace=" + usualNamespace, withImages, withOperator}, flags...)...)
}

// render returns the objects of template.
func render(t *testing.T, flags ...string) []*unstructured.Unstructured {
	t.Helper()
	output, err := client.template(t.Context(), flags...)
	require.NoError(t, err)
	objects, err := apiservertest.Objects(strings.NewReader(output))
	require.NoError(t, err)
	return objects
}

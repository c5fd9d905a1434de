package charttest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHelmLint(t *testing.T) {
	_, err := client.run(t.Context(), "lint", "--strict", chart)
	require.NoError(t, err)
	for _, installation := range installations {
		_, err := client.run(t.Context(), append([]string{"lint", "--strict", "--quiet", chart}, installation.flags()...)...)
		require.NoError(t, err, installation.folder)
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		flags []string
		says  []string
	}{
		"unknown value":              {[]string{"--set=webhok.replicas=2"}, []string{"webhok"}},
		"unknown value, deeper":      {[]string{"--set=webhook.replica=2"}, []string{"/webhook", "replica"}},
		"unknown image":              {[]string{"--set=images.proxy.tag=v1"}, []string{"/images", "proxy"}},
		"typo in exposure":           {[]string{"--set=exposure=Unix"}, []string{"/exposure", "'unix', 'direct'"}},
		"typo in injector":           {[]string{"--set=injector=admission-policy"}, []string{"/injector"}},
		"typo in source":             {[]string{"--set=certificates.source=cert-manager"}, []string{"/certificates/source", "'certManager'"}},
		"typo in authorization":      {[]string{"--set=relay.authorization=delegate"}, []string{"/relay/authorization"}},
		"log level of another world": {[]string{"--set=webhook.logLevel=warning"}, []string{"/webhook/logLevel"}},
		"no replica":                 {[]string{"--set=webhook.replicas=0"}, []string{"/webhook/replicas"}},
		"half a replica":             {[]string{"--set-json=webhook.replicas=1.5"}, []string{"/webhook/replicas"}},
		"text for a switch":          {[]string{"--set-string=openshift=yes"}, []string{"/openshift"}},
		"image without a name":       {[]string{"--set=images.sidecar.repository="}, []string{"not set: images.sidecar.repository.", "docs/install.md"}},
		"digest without its method":  {[]string{"--set=images.sidecar.digest=e3b0"}, []string{"/images/sidecar/digest"}},
		"digest for a tag":           {[]string{"--set=images.sidecar.tag=" + someDigest}, []string{"/images/sidecar/tag"}},
		"quote in a repository":      {[]string{"--set=images.sidecar.repository=a'b"}, []string{"/images/sidecar/repository"}},
		"pull policy":                {[]string{"--set=images.relay.pullPolicy=Sometimes"}, []string{"/images/relay/pullPolicy"}},
		"pull secret as an object":   {[]string{"--set=images.pullSecrets[0].name=mirror"}, []string{"/images/pullSecrets/0"}},
		"number for a label":         {[]string{"--set=webhook.nodeSelector.gpu=1"}, []string{"/webhook/nodeSelector/gpu"}},
		"folder that is relative":    {[]string{"--set=relay.kubeletPodsDir=kubelet/pods"}, []string{"/relay/kubeletPodsDir"}},
		"colon in a folder":          {[]string{"--set=relay.kubeletPodsDir=/kubelet:pods"}, []string{"/relay/kubeletPodsDir"}},
		"namespace that is none":     {[]string{"--set=relay.namespace.name=Relay"}, []string{"/relay/namespace/name"}},
		"policy and direct":          {[]string{"--set=injector=admissionPolicy,exposure=direct"}, []string{"exposure: unix only"}},
		"policy and pull secrets":    {[]string{"--set=injector=admissionPolicy,images.sidecar.requiredPullSecrets={a}"}, []string{"injector: webhook"}},
		"pull secrets of ours alone": {[]string{"--set=images.pullSecrets={a}", "--kube-version=v1.35.0"}, []string{"images.sidecar.requiredPullSecrets", "or to []"}},
		"pull secrets and Always":    {[]string{"--set=images.pullSecrets={a},images.sidecar.pullPolicy=Always", "--kube-version=v1.34.0"}, []string{"or to []"}},
		"policy and silence":         {[]string{"--set=injector=admissionPolicy,images.pullSecrets={a}", "--kube-version=v1.36.3-gke.1"}, []string{"or to []"}},
		"class that is no name":      {[]string{"--set=relay.priorityClassName=High"}, []string{"/relay/priorityClassName"}},
		"no relay may be missing":    {[]string{"--set=relay.maxUnavailable=0"}, []string{"/relay/maxUnavailable"}},
		"percentage without its %":   {[]string{"--set-string=relay.maxUnavailable=34"}, []string{"/relay/maxUnavailable"}},
		"relay beside the webhook":   {[]string{"--set=relay.namespace.name=" + usualNamespace}, []string{"a namespace of its own"}},
		"relay without an image":     {[]string{"--set=images.relay.repository="}, []string{"not set: images.relay.repository."}},
		"peers as text":              {[]string{"--set=networkPolicies.relayFrom={10.0.0.0/8}"}, []string{"/networkPolicies/relayFrom/0"}},
		"old Kubernetes":             {[]string{"--kube-version=v1.29.15"}, []string{">=1.30.0-0", "incompatible with Kubernetes v1.29.15"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.template(t.Context(), test.flags...)
			require.Error(t, err)
			for _, says := range test.says {
				require.ErrorContains(t, err, says)
			}
		})
	}
}

// Without values, the chart names no image that someone else could own; the error names those to set.
func TestChartWithoutImagesIsRefused(t *testing.T) {
	_, err := client.run(t.Context(), "template", release, chart)
	require.ErrorContains(t, err, "not set: images.relay.repository, images.sidecar.repository, images.webhook.repository. Push the images")
	_, err = client.run(t.Context(), "template", release, chart, "--set=exposure=direct")
	require.ErrorContains(t, err, "not set: images.sidecar.repository, images.webhook.repository. Push the images")
}

// The webhook's arguments show that the sidecar's image needs no Secret; kubectl hypervisor check reads it there.
func TestNoPullSecretIsNeeded(t *testing.T) {
	const flag = "- --sidecar-image-pull-secrets=\n"
	silent, err := client.template(t.Context())
	require.NoError(t, err)
	require.NotContains(t, silent, flag)
	said, err := client.template(t.Context(), "--set-json=images.sidecar.requiredPullSecrets=[]")
	require.NoError(t, err)
	require.Contains(t, said, flag)
}

func TestUnusualValuesAreAccepted(t *testing.T) {
	for name, flags := range map[string][]string{
		"a provider's version":           {"--kube-version=v1.30.5-gke.1443001"},
		"values of a chart above":        {"--set=global.registry=example"},
		"relay beside it, without relay": {"--set=exposure=direct,relay.namespace.name=" + usualNamespace},
		"registry with a port":           {"--set=images.sidecar.repository=registry.example:5000/a/b"},
		"image that needs no secret":     {"--set=images.pullSecrets={a}", "--set-json=images.sidecar.requiredPullSecrets=[]", "--kube-version=v1.35.0"},
		"secrets that VMs have":          {"--set=images.pullSecrets={a},images.sidecar.requiredPullSecrets={b}", "--kube-version=v1.35.0"},
		"kubelets before 1.35":           {"--set=images.pullSecrets={a}", "--kube-version=v1.34.9"},
		"the only replica":               {"--set=webhook.replicas=1"},
		"direct without a relay's image": {"--set=exposure=direct,images.relay.repository="},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.template(t.Context(), flags...)
			require.NoError(t, err)
		})
	}
}

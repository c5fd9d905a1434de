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
		"image by part, as it was":   {[]string{"--set=images.webhook.tag=v1"}, []string{"additional properties 'images' not allowed"}},
		"typo in exposure":           {[]string{"--set=exposure=Unix"}, []string{"/exposure", "'unix', 'direct'"}},
		"typo in injector":           {[]string{"--set=injector=admission-policy"}, []string{"/injector"}},
		"typo in source":             {[]string{"--set=certificates.source=cert-manager"}, []string{"/certificates/source", "'certManager'"}},
		"typo in authorization":      {[]string{"--set=relay.authorization=delegate"}, []string{"/relay/authorization"}},
		"log level of another world": {[]string{"--set=webhook.logLevel=warning"}, []string{"/webhook/logLevel"}},
		"no replica":                 {[]string{"--set=webhook.replicas=0"}, []string{"/webhook/replicas"}},
		"half a replica":             {[]string{"--set-json=webhook.replicas=1.5"}, []string{"/webhook/replicas"}},
		"unknown alert":              {[]string{"--set=monitoring.prometheusRule.alerts.RelayDown.disabled=true"}, []string{`there is no alert "RelayDown"`}},
		"unknown setting of alerts":  {[]string{"--set=monitoring.prometheusRule.alerts.HypervisorExporterRelayDown.enabled=true"}, []string{"/monitoring/prometheusRule/alerts"}},
		"label of the rules":         {[]string{"--set=monitoring.prometheusRule.alertLabels.namespace=a"}, []string{"invalid propertyName 'namespace'"}},
		"text for a switch":          {[]string{"--set-string=openshift=yes"}, []string{"/openshift"}},
		"image without a name":       {[]string{"--set=image.repository="}, []string{"not set: image.repository.", "docs/install.md"}},
		"digest without its method":  {[]string{"--set=image.digest=e3b0"}, []string{"/image/digest"}},
		"digest for a tag":           {[]string{"--set=image.tag=" + someDigest}, []string{"/image/tag"}},
		"quote in a repository":      {[]string{"--set=image.repository=a'b"}, []string{"/image/repository"}},
		"pull policy":                {[]string{"--set=image.pullPolicy=Sometimes"}, []string{"/image/pullPolicy"}},
		"pull secret as an object":   {[]string{"--set=image.pullSecrets[0].name=mirror"}, []string{"/image/pullSecrets/0"}},
		"number for a label":         {[]string{"--set=webhook.nodeSelector.gpu=1"}, []string{"/webhook/nodeSelector/gpu"}},
		"folder that is relative":    {[]string{"--set=relay.kubeletPodsDir=kubelet/pods"}, []string{"/relay/kubeletPodsDir"}},
		"colon in a folder":          {[]string{"--set=relay.kubeletPodsDir=/kubelet:pods"}, []string{"/relay/kubeletPodsDir"}},
		"namespace that is none":     {[]string{"--set=relay.namespace.name=Relay"}, []string{"/relay/namespace/name"}},
		"policy and direct":          {[]string{"--set=injector=admissionPolicy,exposure=direct"}, []string{"exposure: unix only"}},
		"policy and pull secrets":    {[]string{"--set=injector=admissionPolicy,image.requiredPullSecrets={a}"}, []string{"injector: webhook"}},
		"pull secrets of ours alone": {[]string{"--set=image.pullSecrets={a}", "--kube-version=v1.35.0"}, []string{"image.requiredPullSecrets", "or to []"}},
		"pull secrets and Always":    {[]string{"--set=image.pullSecrets={a},image.pullPolicy=Always", "--kube-version=v1.34.0"}, []string{"or to []"}},
		"policy and silence":         {[]string{"--set=injector=admissionPolicy,image.pullSecrets={a}", "--kube-version=v1.36.3-gke.1"}, []string{"or to []"}},
		"class that is no name":      {[]string{"--set=relay.priorityClassName=High"}, []string{"/relay/priorityClassName"}},
		"no relay may be missing":    {[]string{"--set=relay.maxUnavailable=0"}, []string{"/relay/maxUnavailable"}},
		"percentage without its %":   {[]string{"--set-string=relay.maxUnavailable=34"}, []string{"/relay/maxUnavailable"}},
		"relay beside the webhook":   {[]string{"--set=relay.namespace.name=" + usualNamespace}, []string{"a namespace of its own"}},
		"peers as text":              {[]string{"--set=networkPolicies.relayFrom={10.0.0.0/8}"}, []string{"/networkPolicies/relayFrom/0"}},
		"argument of ours":           {[]string{"--set=webhook.extraArgs={--exposure=direct}"}, []string{"/webhook/extraArgs/0", "does not match pattern"}},
		"argument of a value":        {[]string{"--set=relay.extraArgs={--log-level=debug}"}, []string{"/relay/extraArgs/0"}},
		"argument in two parts":      {[]string{"--set=webhook.extraArgs={--log-format,logfmt}"}, []string{"/webhook/extraArgs/0"}},
		"label that selects":         {[]string{`--set=commonLabels.app\.kubernetes\.io/name=a`}, []string{"invalid propertyName 'app.kubernetes.io/name'"}},
		"label of Pod Security":      {[]string{`--set=commonLabels.pod-security\.kubernetes\.io/enforce=baseline`}, []string{"invalid propertyName 'pod-security.kubernetes.io/enforce'"}},
		"label that selects a pod":   {[]string{`--set=relay.podLabels.app\.kubernetes\.io/component=webhook`}, []string{"invalid propertyName 'app.kubernetes.io/component'"}},
		"mesh by annotation":         {[]string{`--set=relay.podAnnotations.linkerd\.io/inject=enabled`}, []string{"invalid propertyName 'linkerd.io/inject'"}},
		"registry with a slash":      {[]string{"--set=global.imageRegistry=mirror.example/"}, []string{"/global/imageRegistry"}},
		"global secret alone":        {[]string{"--set=global.imagePullSecrets={a}", "--kube-version=v1.35.0"}, []string{"global.imagePullSecrets", "or to []"}},
		"neither true nor auto":      {[]string{"--set=monitoring.podMonitors.enabled=yes"}, []string{"/monitoring/podMonitors/enabled", "'auto'"}},
		"scrapes too rare":           {[]string{"--set=monitoring.podMonitors.interval=5m"}, []string{"/monitoring/podMonitors/interval"}},
		"timeout over the interval":  {[]string{"--set=monitoring.podMonitors.interval=15s,monitoring.podMonitors.scrapeTimeout=20s"}, []string{"longer than interval"}},
		"empty namespace selector":   {[]string{"--set-json=monitoring.podMonitors.namespaceSelector={\"matchNames\":[]}"}, []string{"/namespaceSelector/matchNames"}},
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

// Without values, the chart names no image that someone else could own; the error names what to set.
func TestChartWithoutAnImageIsRefused(t *testing.T) {
	_, err := client.run(t.Context(), "template", release, chart)
	require.ErrorContains(t, err, "not set: image.repository. Push the image")
}

// The webhook's arguments show that the sidecar's image needs no Secret; kubectl hypervisor check reads it there.
func TestNoPullSecretIsNeeded(t *testing.T) {
	const flag = "- --sidecar-image-pull-secrets=\n"
	silent, err := client.template(t.Context())
	require.NoError(t, err)
	require.NotContains(t, silent, flag)
	said, err := client.template(t.Context(), "--set-json=image.requiredPullSecrets=[]")
	require.NoError(t, err)
	require.Contains(t, said, flag)
}

func TestUnusualValuesAreAccepted(t *testing.T) {
	for name, flags := range map[string][]string{
		"a provider's version":           {"--kube-version=v1.30.5-gke.1443001"},
		"values of a chart above":        {"--set=global.registry=example"},
		"relay beside it, without relay": {"--set=exposure=direct,relay.namespace.name=" + usualNamespace},
		"a global registry's path":       {"--set=global.imageRegistry=mirror.example/proxy/ghcr"},
		"registry with a port":           {"--set=image.repository=registry.example:5000/a/b"},
		"image that needs no secret":     {"--set=image.pullSecrets={a}", "--set-json=image.requiredPullSecrets=[]", "--kube-version=v1.35.0"},
		"secrets that VMs have":          {"--set=image.pullSecrets={a},image.requiredPullSecrets={b}", "--kube-version=v1.35.0"},
		"kubelets before 1.35":           {"--set=image.pullSecrets={a}", "--kube-version=v1.34.9"},
		"the only replica":               {"--set=webhook.replicas=1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.template(t.Context(), flags...)
			require.NoError(t, err)
		})
	}
}

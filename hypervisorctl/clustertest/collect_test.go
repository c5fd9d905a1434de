package clustertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"kubevirt-hypervisor-exporter/hypervisorctl/cluster"
)

// planted is a secret value, wherever it is.
const planted = "pl4nt3d-s3cr3t"

// unpack returns the files of a bundle.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Less(t, len(content), 1<<20)
	compressed, err := gzip.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(compressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		text, err := io.ReadAll(archive)
		require.NoError(t, err)
		folder, name, _ := strings.Cut(header.Name, "/")
		require.Regexp(t, `^hypervisor-\d{8}-\d{6}$`, folder)
		require.NotContains(t, name, "..")
		files[name] = string(text)
	}
}

// plant writes the secret wherever people have secrets.
func plant(t *testing.T, namespace string) {
	t.Helper()
	client, ctx := server.Client, t.Context()
	annotations := map[string]string{"team.example/token": planted, corev1.LastAppliedConfigAnnotation: `{"env":"` + planted + `"}`}
	for _, in := range []string{namespace, cluster.ExporterNamespace, cluster.RelayNamespace} {
		_, err := client.CoreV1().Secrets(in).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "planted-"}, StringData: map[string]string{"key": planted}}, metav1.CreateOptions{})
		require.NoError(t, err)
		_, err = client.CoreV1().ConfigMaps(in).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "planted-"}, Data: map[string]string{"key": planted}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	// The relay's CA, in a ConfigMap in which someone put more.
	authority := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.RelayNamespace, Name: "hypervisor-exporter-relay-ca", Annotations: annotations},
		Data: map[string]string{"ca.crt": planted + "\n-----BEGIN CERTIFICATE-----\nY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n" +
			"-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(planted)) + "\n-----END PRIVATE KEY-----\n", "other": planted},
	}
	_, err := client.CoreV1().ConfigMaps(cluster.RelayNamespace).Create(ctx, authority, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = client.CoreV1().ConfigMaps(cluster.RelayNamespace).Update(ctx, authority, metav1.UpdateOptions{})
	}
	require.NoError(t, err)

	patch := func(object map[string]any) []byte {
		content, err := json.Marshal(object)
		require.NoError(t, err)
		return content
	}
	withAnnotations := map[string]any{"annotations": annotations}
	secretPodSpec := func(container string) map[string]any {
		return map[string]any{"metadata": withAnnotations, "spec": map[string]any{
			"containers": []any{
				map[string]any{"name": container, "env": []any{map[string]any{"name": "PASSWORD", "value": planted}}, "livenessProbe": map[string]any{
					"httpGet": map[string]any{"path": "/healthz", "port": 1, "httpHeaders": []any{map[string]any{"name": "Authorization", "value": planted}}}}},
				map[string]any{"name": "mesh", "image": "none", "args": []any{"--token=" + planted}, "command": []any{planted}},
			},
			"volumes": []any{map[string]any{"name": "store", "csi": map[string]any{"driver": "csi.example", "volumeAttributes": map[string]any{"key": planted}}}},
		}}
	}
	_, err = client.AppsV1().Deployments(cluster.ExporterNamespace).Patch(ctx, cluster.Webhook, types.StrategicMergePatchType,
		patch(map[string]any{"metadata": withAnnotations, "spec": map[string]any{"template": secretPodSpec("webhook")}}), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = client.AppsV1().DaemonSets(cluster.RelayNamespace).Patch(ctx, cluster.Relay, types.StrategicMergePatchType,
		patch(map[string]any{"metadata": withAnnotations, "spec": map[string]any{"template": secretPodSpec("relay")}}), metav1.PatchOptions{})
	require.NoError(t, err)
	_, err = client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, cluster.Configuration, types.MergePatchType,
		patch(map[string]any{"metadata": withAnnotations}), metav1.PatchOptions{})
	require.NoError(t, err)
	for _, name := range []string{namespace, cluster.ExporterNamespace} {
		_, err = client.CoreV1().Namespaces().Patch(ctx, name, types.MergePatchType, patch(map[string]any{"metadata": withAnnotations}), metav1.PatchOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, server.Apply(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt",
		"metadata": map[string]any{"namespace": "default", "name": "kubevirt", "annotations": map[string]any{"token": planted}},
		"spec": map[string]any{
			"configuration":       map[string]any{"developerConfiguration": map[string]any{"useEmulation": true}, "webhookToken": planted},
			"customizeComponents": map[string]any{"patches": []any{map[string]any{"patch": planted}}},
		},
		"status": map[string]any{"phase": "Deployed", "observedKubeVirtVersion": "v1.9.0"},
	}}))
	// A VM with user data, whose annotations KubeVirt copies to the pod.
	web := testVM{namespace: namespace, name: "secret", fixture: "masq", node: "node-log", secret: planted, waiting: "CrashLoopBackOff"}
	web.create(t)
	for _, in := range []string{cluster.ExporterNamespace, cluster.RelayNamespace} {
		pods, err := client.CoreV1().Pods(in).List(ctx, metav1.ListOptions{})
		require.NoError(t, err)
		for _, pod := range pods.Items {
			_, err = client.CoreV1().Pods(in).Patch(ctx, pod.Name, types.MergePatchType, patch(map[string]any{"metadata": withAnnotations}), metav1.PatchOptions{})
			require.NoError(t, err)
		}
	}
}

func TestCollect(t *testing.T) {
	install(t)
	kubeVirt(t, false)
	runsPrometheus(t, map[string]any{})
	namespace := shop(t)
	serveWebhook(t, namespace)
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0." + base64.RawURLEncoding.EncodeToString([]byte(planted))
	serveKubelet(t, "node-log", &kubelet{log: "{\"msg\":\"started\"}\nAuthorization: Bearer " + token + "\n\x1b[2J\n"})
	relayPod(t, "node-log")
	plant(t, namespace)
	mayDryRun(t, namespace)
	args := []string{"collect", "-n", namespace, "--prometheus-url=" + prometheus(t, namespace)}
	listed := regexp.MustCompile(`(?m)^ *(\d+)  (\S+)$`)

	t.Run("an administrator", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "bundle.tar.gz")
		got := call(t, administrator(t), append(args, "-o", file)...)
		require.Zero(t, got.code, got.err)
		require.Equal(t, "Wrote "+file+". Read it before you pass it on.\n", got.err)
		files := unpack(t, file)
		stat, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), stat.Mode())

		for name, text := range files {
			for _, secret := range []string{planted, base64.StdEncoding.EncodeToString([]byte(planted)), base64.RawURLEncoding.EncodeToString([]byte(planted)), "PRIVATE KEY", "\x1b", "user data of the VM"} {
				require.NotContains(t, text, secret, name)
			}
		}
		names := map[string]string{}
		for _, line := range listed.FindAllStringSubmatch(got.out, -1) {
			names[line[2]] = line[1]
		}
		require.Len(t, names, len(files), "each file is listed")
		for name, text := range files {
			require.Equal(t, fmt.Sprint(len(text)), names[name], name)
			if name != "index.txt" {
				require.Contains(t, files["index.txt"], " "+name+"\n")
			}
		}
		for name, want := range map[string]string{
			"index.txt":     "objects/mutatingadmissionpolicies.hypervisor-exporter.yaml: does not exist",
			"check.txt":     "ok    KubeVirt v1.9.0 is deployed",
			"vms/list.yaml": "reason: opted_out",
			"vms/pods.yaml": "reason: CrashLoopBackOff",
			"vms/logs/" + namespace + ".virt-launcher-secret-x.log":                       "started",
			"objects/mutatingwebhookconfigurations.hypervisor-exporter.yaml":              "caBundle:",
			"objects/deployments.hypervisor-exporter.hypervisor-exporter-webhook.yaml":    "name: PASSWORD\n          value: (left out)",
			"objects/deployments.hypervisor-exporter.hypervisor-exporter-certs.yaml":      "value: 44MiB",
			"objects/daemonsets.hypervisor-exporter-relay.hypervisor-exporter-relay.yaml": "--kubelet-pods-dir=/var/lib/kubelet/pods",
			"objects/podmonitors.hypervisor-exporter-relay.yaml":                          "podMetricsEndpoints:",
			"objects/prometheusrules.hypervisor-exporter.yaml":                            "VirtualMachine",
			"objects/prometheuses.yaml":                                                   "podMonitorSelector: {}",
			"objects/kubevirts.yaml":                                                      "useEmulation: true",
			"objects/namespaces.yaml":                                                     "name: " + namespace,
			"objects/namespaces.hypervisor-exporter.yaml":                                 "team.example/token: (left out)",
			"objects/pods.hypervisor-exporter.yaml":                                       "name: hypervisor-exporter-webhook-1",
			"objects/relay-ca.pem":                                                        "-----BEGIN CERTIFICATE-----\nY2VydGlmaWNhdGU=",
			"logs/hypervisor-exporter-relay.hypervisor-exporter-relay-log.relay.log":      "Authorization: Bearer (left out)\n\\u001b[2J\n",
			"logs/hypervisor-exporter.hypervisor-exporter-webhook-1.webhook.metrics":      "certificate_not_after_timestamp_seconds",
		} {
			require.Contains(t, files[name], want, name)
		}
		got = call(t, administrator(t), append(args, "-o", file)...)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.err, "file exists")
	})
	t.Run("with exactly the rights of rbac.yaml", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "bundle.tar.gz")
		got := callAs(t, reader(), append(args, "-o", file)...)
		require.Zero(t, got.code, got.err)
		_, absent, _ := strings.Cut(unpack(t, file)["index.txt"], "\nNot in the bundle:\n")
		denied := regexp.MustCompile(`(?m)^(.*): you may not `).FindAllStringSubmatch(absent, -1)
		var things []string
		for _, one := range denied {
			things = append(things, one[1])
		}
		logs := "vms/logs/" + namespace + ".virt-launcher-"
		require.Equal(t, []string{logs + "pulling-x.log", logs + "secret-x.log", logs + "starting-x.log"}, things, absent)
	})
	t.Run("without rights", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "bundle.tar.gz")
		got := callAs(t, as("stranger", "system:authenticated"), append(args, "-o", file)...)
		require.Zero(t, got.code, got.err)
		files := unpack(t, file)
		require.Contains(t, files["index.txt"], "vms/list.yaml: you may not list virtualmachineinstances")
		require.Contains(t, files["index.txt"], "objects/daemonsets.hypervisor-exporter-relay.hypervisor-exporter-relay.yaml: you may not", "as the manifests have it")
		require.Len(t, files, 2, "index.txt and check.txt")
	})
	t.Run("dry run", func(t *testing.T) {
		t.Chdir(t.TempDir())
		got := call(t, administrator(t), append(args, "--dry-run")...)
		require.Zero(t, got.code, got.err)
		require.Regexp(t, `(?m)^ +\d+  vms/list\.yaml$`, got.out)
		entries, err := os.ReadDir(".")
		require.NoError(t, err)
		require.Empty(t, entries)
	})
}

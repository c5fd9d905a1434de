package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// userImages are images as a user, `kustomize edit set image`, Argo CD or Flux writes them into a kustomization, and the
// sidecar's that then must be injected.
var userImages = map[string]struct{ set, sidecar string }{
	"tag":            {"newName: registry.example:5000/own/%[1]s, newTag: v9", "registry.example:5000/own/sidecar:v9"},
	"digest":         {"newName: registry.example:5000/own/%[1]s, digest: " + someDigest, "registry.example:5000/own/sidecar@" + someDigest},
	"tag and digest": {"newName: registry.example/%[1]s, newTag: v9, digest: " + someDigest, "registry.example/sidecar:v9@" + someDigest},
}

// images gives the field `images` for images that are now called by the prefix and their name.
func images(prefix, set string) string {
	var text strings.Builder
	text.WriteString("images:\n")
	for _, image := range []string{"webhook", "relay", "sidecar"} {
		fmt.Fprintf(&text, "- {name: %s%s, %s}\n", prefix, image, fmt.Sprintf(set, image))
	}
	return text.String()
}

const unsetPrefix = unsetImages + "kubevirt-hypervisor-exporter/"

// Wherever images are set, the image that is injected is the one that our own pods pull first: in the component, in the
// kustomization.yaml that is applied, or in a folder around it that has the documented line.
func TestInjectedImageIsTheInstallations(t *testing.T) {
	for how, image := range userImages {
		for _, folder := range installable {
			if how != "tag" && folder != "." && folder != policyOverlay && !testkit.Soak() {
				continue // how an image is written makes a difference to the webhook and to the policy
			}
			t.Run(how+"/"+folder, func(t *testing.T) {
				t.Parallel()
				component := copyManifests(t)
				file := filepath.Join(component, "images/kustomization.yaml")
				content := readFile(t, file)
				before, after, found := strings.Cut(content, "images:\n")
				require.True(t, found)
				writeFile(t, file, before+images("", image.set)+after[strings.Index(after, "\ntransformers:"):])
				requireInjected(t, folder, renderFolder(t, filepath.Join(component, folder)), image.sidecar)

				own := copyManifests(t)
				file = filepath.Join(own, folder, "kustomization.yaml")
				writeFile(t, file, readFile(t, file)+images(unsetPrefix, image.set))
				requireInjected(t, folder, renderFolder(t, filepath.Join(own, folder)), image.sidecar)

				requireInjected(t, folder, around(t, folder, images(unsetPrefix, image.set)+recipe(folder)), image.sidecar)
			})
		}
	}
}

// Without the documented line the webhook keeps the name that the manifests come with: it refuses to start with it, so
// that no VM gets a container whose image no one can pull; and the policy skips it.
func TestImagesAroundWithoutTheRecipeInjectNothing(t *testing.T) {
	for _, folder := range installable {
		objects := around(t, folder, images(unsetPrefix, userImages["tag"].set))
		if folder == policyOverlay {
			requireVariable(t, objects, unsetPrefix+"sidecar:v0.1.0")
			continue
		}
		_, injected := sidecarImages(t, find(t, objects, "Deployment", serviceName))
		require.True(t, strings.HasPrefix(injected, unsetImages), injected)
	}
}

// The API server refuses a Deployment of the webhook that would inject another image than it pulls, from any user.
func TestDifferentImagesAreRefused(t *testing.T) {
	install(t, ".")
	same := around(t, ".", images(unsetPrefix, userImages["tag"].set)+recipe("."))
	different := find(t, around(t, ".", images(unsetPrefix, userImages["tag"].set)), "Deployment", serviceName)
	var err error
	eventually(t, func() bool { // the policy takes a moment
		_, err = server.Create(t.Context(), renamedAway(t, different), dryRun())
		return err != nil
	})
	require.ErrorContains(t, err, "SIDECAR_IMAGE is "+unsetPrefix+"sidecar:v0.1.0, but the init container sidecar-image pulls registry.example:5000/own/sidecar:v9")
	require.ErrorContains(t, err, "settings/webhook")
	require.ErrorContains(t, server.Apply(t.Context(), different), "SIDECAR_IMAGE is")
	require.NoError(t, server.Apply(t.Context(), find(t, same, "Deployment", serviceName)))
	const name = "registry.example:5000/own/sidecar"
	for _, test := range []struct {
		pulled, injected string
		refused          bool
	}{
		{name + ":v9", name + ":v9", false},
		{name + ":v10", name + ":v9", true},
		{"mirror.example/own/sidecar:v9", name + ":v9", true},
		{name + ":v9@" + someDigest, name + ":v9", false}, // by a webhook that checks signatures
		{name + "@" + someDigest, name + ":v9", false},
		{"mirror.example/own/sidecar@" + someDigest, name + ":v9", true},
		{name + ":v9", name + ":v9@" + someDigest, true},
		{name + "@" + someDigest, name + "@" + strings.Replace(someDigest, "e3", "00", 1), true},
		{name + "-other@" + someDigest, name + ":v9", true},
		{name + "@" + someDigest, name, false},
		{name + ":v9", "", false}, // not ours to judge
	} {
		deployment := find(t, same, "Deployment", serviceName).DeepCopy()
		setSidecarImages(t, deployment, test.pulled, test.injected)
		err := server.Apply(t.Context(), deployment)
		if test.refused {
			require.ErrorContains(t, err, "SIDECAR_IMAGE is", "%+v", test)
		} else {
			require.NoError(t, err, "%+v", test)
		}
	}
}

// A Deployment whose images differed before the policy came can be changed in all else, and fixed.
func TestOldDifferenceCanBeFixed(t *testing.T) {
	objects := around(t, ".", images(unsetPrefix, userImages["tag"].set)+recipe("."))
	deployment := find(t, objects, "Deployment", serviceName)
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment)))
	require.NoError(t, server.Apply(t.Context(), find(t, objects, "Namespace", productNamespace)))
	setSidecarImages(t, deployment, "mirror.example/sidecar:v9", "registry.example/sidecar:v9")
	eventually(t, func() bool { // the policy of the previous test may act for a moment
		return server.Apply(t.Context(), deployment) == nil
	})
	for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
		require.NoError(t, server.Apply(t.Context(), find(t, objects, kind, serviceName)))
	}
	t.Cleanup(func() { uninstall(t) })
	tag := 9
	eventually(t, func() bool { // until the policy is in force
		tag++
		other := deployment.DeepCopy()
		setSidecarImages(t, other, fmt.Sprintf("mirror.example/sidecar:v%d", tag), "registry.example/sidecar:v9")
		return server.Apply(t.Context(), other) != nil
	})

	current, err := server.Get(t.Context(), deployment)
	require.NoError(t, err)
	pulled, _ := sidecarImages(t, current)
	setSidecarImages(t, deployment, pulled, "registry.example/sidecar:v9")
	require.NoError(t, unstructured.SetNestedField(deployment.Object, int64(3), "spec", "replicas"))
	require.NoError(t, server.Apply(t.Context(), deployment), "the difference is not new")
	setSidecarImages(t, deployment, "registry.example/sidecar:v9", "registry.example/sidecar:v9")
	require.NoError(t, server.Apply(t.Context(), deployment))
}

func setSidecarImages(t *testing.T, deployment *unstructured.Unstructured, pulled, injected string) {
	t.Helper()
	spec := deployment.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	spec["initContainers"].([]any)[0].(map[string]any)["image"] = pulled
	for _, variable := range spec["containers"].([]any)[0].(map[string]any)["env"].([]any) {
		if v := variable.(map[string]any); v["name"] == "SIDECAR_IMAGE" {
			v["value"] = injected
		}
	}
}

// renamedAway deletes the Deployment that is there, so that the given one can be created.
func renamedAway(t *testing.T, deployment *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment)))
	return deployment
}

// requireInjected checks that every pod of ours that pulls the sidecar's image pulls this one, and that it is injected.
func requireInjected(t *testing.T, folder string, objects []*unstructured.Unstructured, want string) {
	t.Helper()
	count := 0
	for _, object := range workloads(objects) {
		if object.GetName() == certsName {
			continue
		}
		count++
		pulled, injected := sidecarImages(t, object)
		require.Equal(t, want, pulled, object.GetName())
		if object.GetKind() == "Deployment" {
			require.Equal(t, want, injected)
		}
	}
	if has(folder, "admission-policy") {
		requireVariable(t, objects, want)
	}
	require.Equal(t, map[bool]int{true: 2, false: 1}[!has(folder, "admission-policy") && !has(folder, "direct")], count)
}

func requireVariable(t *testing.T, objects []*unstructured.Unstructured, image string) {
	t.Helper()
	variables, _, err := unstructured.NestedSlice(find(t, objects, "MutatingAdmissionPolicy", configurationName).Object, "spec", "variables")
	require.NoError(t, err)
	require.Contains(t, variables, map[string]any{"name": "image", "expression": "'" + image + "'"})
}

// sidecarImages are the sidecar's images of a workload: what its init container pulls, and what it injects.
func sidecarImages(t *testing.T, workload *unstructured.Unstructured) (pulled, injected string) {
	t.Helper()
	spec := decode[corev1.Pod](t, podOf(t, workload)).Spec
	for _, variable := range spec.Containers[0].Env {
		if variable.Name == "SIDECAR_IMAGE" {
			injected = variable.Value
		}
	}
	return spec.InitContainers[0].Image, injected
}

// A composition of one's own, of the parts that the overlays are made of, goes on to work with the component alone.
func TestOwnCompositionHasItsImages(t *testing.T) {
	dir := copyManifests(t)
	own := filepath.Join(dir, "own")
	require.NoError(t, os.Mkdir(own, 0o755))
	writeFile(t, filepath.Join(own, "kustomization.yaml"), `resources: [../base, ../certs, ../relay]
components: [../relay/certs, ../images]
`)
	requireInjected(t, ".", renderFolder(t, own), unsetPrefix+"sidecar:v0.1.0")
}

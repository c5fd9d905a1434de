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

// userImages are images as a user, `kustomize edit set image`, Argo CD or Flux writes them into a kustomization, and what
// then must be injected.
var userImages = map[string]struct{ set, injected string }{
	"tag":            {"newName: registry.example:5000/own, newTag: v9", "registry.example:5000/own:v9"},
	"digest":         {"newName: registry.example:5000/own, digest: " + someDigest, "registry.example:5000/own@" + someDigest},
	"tag and digest": {"newName: registry.example/own, newTag: v9, digest: " + someDigest, "registry.example/own:v9@" + someDigest},
}

// images gives the field `images` for the image that is now called by the name.
func images(name, set string) string { return fmt.Sprintf("images: [{name: %s, %s}]\n", name, set) }

// Wherever images are set, the image that is injected is the one that our own pods run: in the component, in the
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
				writeFile(t, file, before+images("kubevirt-hypervisor-exporter", image.set)+after[strings.Index(after, "\ntransformers:"):])
				requireInjected(t, folder, renderFolder(t, filepath.Join(component, folder)), image.injected)

				own := copyManifests(t)
				file = filepath.Join(own, folder, "kustomization.yaml")
				writeFile(t, file, readFile(t, file)+images(unsetImage, image.set))
				requireInjected(t, folder, renderFolder(t, filepath.Join(own, folder)), image.injected)

				requireInjected(t, folder, around(t, folder, images(unsetImage, image.set)+recipe(folder)), image.injected)
			})
		}
	}
}

// The API server refuses a Deployment of the webhook that would inject another image than it runs, from any user.
func TestDifferentImagesAreRefused(t *testing.T) {
	install(t, ".")
	same := around(t, ".", images(unsetImage, userImages["tag"].set)+recipe("."))
	different := find(t, around(t, ".", images(unsetImage, userImages["tag"].set)), "Deployment", serviceName)
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), different))) // so that it can be created
	var err error
	eventually(t, func() bool { // the policy takes a moment
		_, err = server.Create(t.Context(), different, dryRun())
		return err != nil
	})
	require.ErrorContains(t, err, "SIDECAR_IMAGE is "+unsetImage+":v0.1.0, but the webhook runs registry.example:5000/own:v9")
	require.ErrorContains(t, err, "settings/webhook")
	require.ErrorContains(t, server.Apply(t.Context(), different), "SIDECAR_IMAGE is")
	require.NoError(t, server.Apply(t.Context(), find(t, same, "Deployment", serviceName)))
	const name = "registry.example:5000/own"
	for _, test := range []struct {
		pulled, injected string
		refused          bool
	}{
		{name + ":v9", name + ":v9", false},
		{name + ":v10", name + ":v9", true},
		{"mirror.example/own:v9", name + ":v9", true},
		{name + ":v9@" + someDigest, name + ":v9", false}, // by a webhook that checks signatures
		{name + "@" + someDigest, name + ":v9", false},
		{"mirror.example/own@" + someDigest, name + ":v9", true},
		{name + ":v9", name + ":v9@" + someDigest, true},
		{name + "@" + someDigest, name + "@" + strings.Replace(someDigest, "e3", "00", 1), true},
		{name + "-other@" + someDigest, name + ":v9", true},
		{name + "@" + someDigest, name, false},
		{name + ":v9", "", false}, // not ours to judge
	} {
		deployment := find(t, same, "Deployment", serviceName).DeepCopy()
		setImages(t, deployment, test.pulled, test.injected)
		err := server.Apply(t.Context(), deployment)
		if test.refused {
			require.ErrorContains(t, err, "SIDECAR_IMAGE is", "%+v", test)
		} else {
			require.NoError(t, err, "%+v", test)
		}
	}
}

// A release before the one image can be installed again: its webhook ran another image than it injected, but an init container
// had pulled that.
func TestReleaseBeforeIsNotRefused(t *testing.T) {
	install(t, ".")
	deployment := find(t, around(t, ".", images(unsetImage, userImages["tag"].set)+recipe(".")), "Deployment", serviceName)
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment))) // so that it can be created
	setImages(t, deployment, "registry.example/webhook:v0.1.0", "registry.example/sidecar:v0.1.0")
	eventually(t, func() bool { // the policy takes a moment
		_, err := server.Create(t.Context(), deployment, dryRun())
		return err != nil
	})
	for image, refused := range map[string]bool{"registry.example/sidecar:v0.1.0": false, "registry.example/sidecar:v9": true} {
		containers := []any{map[string]any{"name": "sidecar-image", "image": image}}
		require.NoError(t, unstructured.SetNestedSlice(deployment.Object, containers, "spec", "template", "spec", "initContainers"))
		_, err := server.Create(t.Context(), deployment, dryRun())
		if refused {
			require.ErrorContains(t, err, "SIDECAR_IMAGE is registry.example/sidecar:v0.1.0")
		} else {
			require.NoError(t, err)
		}
	}
}

// A Deployment whose images differed before the policy came can be changed in all else, and fixed.
func TestOldDifferenceCanBeFixed(t *testing.T) {
	objects := around(t, ".", images(unsetImage, userImages["tag"].set)+recipe("."))
	deployment := find(t, objects, "Deployment", serviceName)
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment)))
	require.NoError(t, server.Apply(t.Context(), find(t, objects, "Namespace", productNamespace)))
	setImages(t, deployment, "mirror.example/own:v9", "registry.example/own:v9")
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
		setImages(t, other, fmt.Sprintf("mirror.example/own:v%d", tag), "registry.example/own:v9")
		return server.Apply(t.Context(), other) != nil
	})

	current, err := server.Get(t.Context(), deployment)
	require.NoError(t, err)
	pulled, _ := imagesOf(t, current)
	setImages(t, deployment, pulled, "registry.example/own:v9")
	require.NoError(t, unstructured.SetNestedField(deployment.Object, int64(3), "spec", "replicas"))
	require.NoError(t, server.Apply(t.Context(), deployment), "the difference is not new")
	setImages(t, deployment, "registry.example/own:v9", "registry.example/own:v9")
	require.NoError(t, server.Apply(t.Context(), deployment))
}

func setImages(t *testing.T, deployment *unstructured.Unstructured, pulled, injected string) {
	t.Helper()
	spec := deployment.Object["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	container := spec["containers"].([]any)[0].(map[string]any)
	container["image"] = pulled
	for _, variable := range container["env"].([]any) {
		if v := variable.(map[string]any); v["name"] == "SIDECAR_IMAGE" {
			v["value"] = injected
		}
	}
}

// requireInjected checks that every pod of ours runs this image, and that it is injected.
func requireInjected(t *testing.T, folder string, objects []*unstructured.Unstructured, want string) {
	t.Helper()
	for _, object := range workloads(objects) {
		runs, injected := imagesOf(t, object)
		require.Equal(t, want, runs, object.GetName())
		if object.GetName() == serviceName {
			require.Equal(t, want, injected)
			require.Contains(t, decode[corev1.Pod](t, podOf(t, object)).Spec.Containers[0].Args, "--sidecar-image=$(SIDECAR_IMAGE)")
		}
	}
	if has(folder, "admission-policy") {
		requireVariable(t, objects, want)
	}
}

func requireVariable(t *testing.T, objects []*unstructured.Unstructured, image string) {
	t.Helper()
	variables, _, err := unstructured.NestedSlice(find(t, objects, "MutatingAdmissionPolicy", configurationName).Object, "spec", "variables")
	require.NoError(t, err)
	require.Contains(t, variables, map[string]any{"name": "image", "expression": "'" + image + "'"})
}

// imagesOf returns the image that a workload runs, and the one that it injects.
func imagesOf(t *testing.T, workload *unstructured.Unstructured) (runs, injected string) {
	t.Helper()
	spec := decode[corev1.Pod](t, podOf(t, workload)).Spec
	for _, variable := range spec.Containers[0].Env {
		if variable.Name == "SIDECAR_IMAGE" {
			injected = variable.Value
		}
	}
	return spec.Containers[0].Image, injected
}

// A composition of one's own, of the parts that the overlays are made of, goes on to work with the component alone.
func TestOwnCompositionHasItsImages(t *testing.T) {
	dir := copyManifests(t)
	own := filepath.Join(dir, "own")
	require.NoError(t, os.Mkdir(own, 0o755))
	writeFile(t, filepath.Join(own, "kustomization.yaml"), `resources: [../base, ../certs, ../relay]
components: [../relay/certs, ../images]
`)
	requireInjected(t, ".", renderFolder(t, own), unsetImage+":v0.1.0")
}

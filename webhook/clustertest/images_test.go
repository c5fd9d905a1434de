package clustertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
			t.Run(how+"/"+folder, func(t *testing.T) {
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
// that no VM gets a container whose image nobody can pull; and the policy skips it.
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

// The API server refuses a Deployment of the webhook that would inject another image than it pulls, whoever writes it.
func TestDifferentImagesAreRefused(t *testing.T) {
	install(t, ".")
	same := around(t, ".", images(unsetPrefix, userImages["tag"].set)+recipe("."))
	different := find(t, around(t, ".", images(unsetPrefix, userImages["tag"].set)), "Deployment", serviceName)
	var err error
	require.Eventually(t, func() bool { // the policy takes a moment
		_, err = server.Create(t.Context(), renamedAway(t, different), dryRun())
		return err != nil
	}, 30*time.Second, 200*time.Millisecond)
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

// A Deployment whose images differ from before the policy can be changed in all else, and put right.
func TestDifferenceOfBeforeCanBePutRight(t *testing.T) {
	objects := around(t, ".", images(unsetPrefix, userImages["tag"].set)+recipe("."))
	deployment := find(t, objects, "Deployment", serviceName)
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment)))
	require.NoError(t, server.Apply(t.Context(), find(t, objects, "Namespace", productNamespace)))
	setSidecarImages(t, deployment, "mirror.example/sidecar:v9", "registry.example/sidecar:v9")
	require.Eventually(t, func() bool { // the policy of a test before may act for a moment
		return server.Apply(t.Context(), deployment) == nil
	}, 30*time.Second, 200*time.Millisecond)
	for _, kind := range []string{"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"} {
		require.NoError(t, server.Apply(t.Context(), find(t, objects, kind, serviceName)))
	}
	t.Cleanup(func() { uninstall(t) })
	tag := 9
	require.Eventually(t, func() bool { // until the policy is in force
		tag++
		other := deployment.DeepCopy()
		setSidecarImages(t, other, fmt.Sprintf("mirror.example/sidecar:v%d", tag), "registry.example/sidecar:v9")
		return server.Apply(t.Context(), other) != nil
	}, 30*time.Second, 200*time.Millisecond)

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
		if variable.(map[string]any)["name"] == "SIDECAR_IMAGE" {
			variable.(map[string]any)["value"] = injected
		}
	}
}

// renamedAway deletes the Deployment that is there, so that the given one can be created.
func renamedAway(t *testing.T, deployment *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	require.NoError(t, ignoreNotFound(server.Delete(t.Context(), deployment)))
	return deployment
}

// requireInjected says that every pod of ours that pulls the sidecar's image pulls this one, and that it is injected.
func requireInjected(t *testing.T, folder string, objects []*unstructured.Unstructured, want string) {
	t.Helper()
	workloads := 0
	for _, object := range objects {
		if !isWorkload(object) || object.GetName() == certsName {
			continue
		}
		workloads++
		pulled, injected := sidecarImages(t, object)
		require.Equal(t, want, pulled, object.GetName())
		if object.GetKind() == "Deployment" {
			require.Equal(t, want, injected)
		}
	}
	if folder == policyOverlay {
		requireVariable(t, objects, want)
	}
	require.Equal(t, map[bool]int{true: 2, false: 1}[folder != policyOverlay && folder != "overlays/direct"], workloads)
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
	spec := podOf(t, workload).Object["spec"].(map[string]any)
	pulled = spec["initContainers"].([]any)[0].(map[string]any)["image"].(string)
	for _, variable := range spec["containers"].([]any)[0].(map[string]any)["env"].([]any) {
		if variable.(map[string]any)["name"] == "SIDECAR_IMAGE" {
			injected = variable.(map[string]any)["value"].(string)
		}
	}
	return pulled, injected
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

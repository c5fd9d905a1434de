package main

import (
	"fmt"
	"strings"
)

// refuseUnset is an error where the image is the one that the manifests name until a user sets it. A webhook that runs has
// an image of its own, so images were set somewhere, but not where the sidecar's reaches the webhook: each VM would wait
// for an image that nobody can pull.
func refuseUnset(image string) error {
	registry, _, _ := strings.Cut(unsetSidecarImage, "/")
	if !strings.HasPrefix(image, registry+"/") {
		return nil
	}
	return fmt.Errorf("--sidecar-image=%s: no image is set for the sidecar. Where a kustomization around the manifests sets images, "+
		"add the manifests' folder settings/webhook to its transformers (docs/install.md, With kustomize)", image)
}

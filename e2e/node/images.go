package node

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// The archives of images inside a node, by its binds.
const (
	Images       = "/images/images.tar" // of everything but the product
	ProductImage = "/product/image.oci.tar"
)

// CopyGuests copies the guests' disks to where their volumes are: KubeVirt has to own a disk's folder, and the cache
// is mounted read-only.
func (n *Node) CopyGuests(ctx context.Context) error {
	_, err := n.Run(ctx, "cp", "-a", "/guest", "/var/guest")
	return err
}

// Import gives the node an archive's images, and returns the name of the first.
func (n *Node) Import(ctx context.Context, archive string) (string, error) {
	output, err := n.Run(ctx, "ctr", "-n", "k8s.io", "images", "import", archive)
	if err != nil {
		return "", fmt.Errorf("import %s: %w", archive, err)
	}
	imported := regexp.MustCompile(`unpacking (\S+)`).FindStringSubmatch(output)
	if imported == nil {
		return "", fmt.Errorf("import %s: no image in %q", archive, output)
	}
	name := imported[1]
	if first, _, _ := strings.Cut(name, "/"); strings.ContainsAny(first, ".:") || first == "localhost" {
		return name, nil
	}
	// The kubelet takes such a name for one of Docker's registry; ctr takes it as it is.
	_, err = n.Run(ctx, "ctr", "-n", "k8s.io", "images", "tag", "--force", name, "docker.io/"+name)
	return name, err
}

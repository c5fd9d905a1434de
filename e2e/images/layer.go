package images

import (
	"archive/tar"
	"io"
	"os"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// capNetBindService is the file capability cap_net_bind_service=ep (linux/capability.h: VFS_CAP_REVISION_2 with the
// effective flag, then bit 10 of the permitted set), which KubeVirt's launcher image gives virt-launcher-monitor.
const capNetBindService = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// file is one file of a layer; its content is that of a file here, or text.
type file struct {
	path       string
	from       string
	text       string
	mode       int64
	owner      int
	capability string
}

// layer packs files; the folders above them appear with the owner of the file and mode 0755.
func layer(files []file) (v1.Layer, error) {
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		reader, writer := io.Pipe()
		go func() { writer.CloseWithError(write(writer, files)) }() // ends when the reader is read or closed
		return reader, nil
	}, tarball.WithCompression(compression.None))
}

func write(to io.Writer, files []file) error {
	out := tar.NewWriter(to)
	made := map[string]bool{}
	for _, f := range files {
		if err := folders(out, made, f); err != nil {
			return err
		}
		if err := f.write(out); err != nil {
			return err
		}
	}
	return out.Close()
}

func folders(out *tar.Writer, made map[string]bool, f file) error {
	var above string
	for name := range strings.SplitSeq(strings.TrimPrefix(path.Dir(f.path), "/"), "/") {
		above = path.Join(above, name)
		if made[above] {
			continue
		}
		made[above] = true
		owner := 0
		if path.Dir(f.path) == "/"+above {
			owner = f.owner
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: above + "/", Mode: 0o755, Uid: owner, Gid: owner}); err != nil {
			return err
		}
	}
	return nil
}

func (f file) write(out *tar.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.path, "/"), Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(f.text))}
	if f.capability != "" {
		header.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": f.capability}
	}
	var content io.Reader = strings.NewReader(f.text)
	if f.from != "" {
		source, err := os.Open(f.from)
		if err != nil {
			return err
		}
		defer func() { _ = source.Close() }()
		info, err := source.Stat()
		if err != nil {
			return err
		}
		header.Size, content = info.Size(), source
	}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(out, content)
	return err
}

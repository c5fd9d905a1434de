// Package collect makes a support bundle: what is needed to find out why VMs have no metric, and no secret.
package collect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kubevirt-hypervisor-exporter/hypervisorctl/terminal"
)

// The limits of a bundle, before it is compressed.
const (
	largestFile   = 8 << 20
	largestBundle = 48 << 20
)

// File is one file of a bundle.
type File struct {
	Name    string
	Content []byte
}

// Bundle is what was collected. It is in memory, so that each file can be listed before it is written.
type Bundle struct {
	Files []File
	size  int
	// absent has a line for each thing that is not in the bundle, with the reason.
	absent []string
}

// secrets match what nothing in a bundle has, unless a secret is where none should be: private keys, JSON Web Tokens, and the
// credentials of an HTTP header. Each begins with a literal, so that a search is fast.
func secrets() []*regexp.Regexp {
	found := []*regexp.Regexp{
		regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?`),
		regexp.MustCompile(`eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*`),
	}
	for _, scheme := range []string{"Bearer", "bearer", "Basic", "basic"} {
		found = append(found, regexp.MustCompile(scheme+` +[\w.~+/=-]{20,}`))
	}
	return found
}

// Add adds a text, without control characters and what looks like a secret. A file that is too large is left out.
func (b *Bundle) Add(name string, content []byte) {
	name = fileName(name)
	var text bytes.Buffer
	if len(content) <= largestFile { // or it is not worth the work
		for _, secret := range secrets() {
			content = secret.ReplaceAll(content, []byte(leftOut))
		}
		_, _ = terminal.NewWriter(&text).Filter().Write(content) // to memory
	}
	if size := max(len(content), text.Len()); size > largestFile || b.size+size > largestBundle {
		b.Missing(name, fmt.Errorf("it has %d bytes: a file may have %d, the bundle %d", size, largestFile, largestBundle))
		return
	}
	b.Files, b.size = append(b.Files, File{name, text.Bytes()}), b.size+text.Len()
}

// Missing notes what is not in the bundle, and why.
func (b *Bundle) Missing(what string, why error) {
	b.absent = append(b.absent, terminal.Line(fmt.Sprintf("%s: %s", what, why)))
}

// Index adds the file index.txt: all files, and what is not in the bundle.
func (b *Bundle) Index(head string) {
	lines := []string{
		head, "", "No Secret, no user data of a VM and no ConfigMap but the relay's CA was read. Of objects, only known fields are kept.",
		strconv.Quote(leftOut) + " stands for what could be a secret.", "", "Files, with their bytes:",
	}
	for _, file := range b.Files {
		lines = append(lines, fmt.Sprintf("%9d  %s", len(file.Content), file.Name))
	}
	lines = append(append(lines, "", "Not in the bundle:"), b.absent...)
	b.Files = append([]File{{"index.txt", []byte(strings.Join(lines, "\n") + "\n")}}, b.Files...)
}

// Write writes the bundle as tar.gz, with all files in one folder.
func (b *Bundle) Write(out io.Writer, folder string, now time.Time) error {
	compressed := gzip.NewWriter(out)
	archive := tar.NewWriter(compressed)
	for _, file := range b.Files {
		header := &tar.Header{Name: folder + "/" + file.Name, Mode: 0o600, Size: int64(len(file.Content)), ModTime: now}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(file.Content); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

var notInNames = regexp.MustCompile(`[^a-z0-9./-]+`)

// fileName returns a name that is safe in any file system: those of objects come from the API server.
func fileName(name string) string {
	name = notInNames.ReplaceAllString(strings.ToLower(name), "_")
	for strings.Contains(name, "..") {
		name = strings.ReplaceAll(name, "..", ".")
	}
	return strings.TrimLeft(name, "/.")
}

package collect

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

func TestKeep(t *testing.T) {
	for name, one := range map[string]struct {
		keep       rule
		have, want string
	}{
		"annotations of ours": {metadata,
			`{name: web, annotations: {hypervisor-exporter.kubevirt.io/inject: "false", a.example/token: s3cret}, managedFields: [s3cret], labels: {a: b}}`,
			`{name: web, annotations: {hypervisor-exporter.kubevirt.io/inject: "false", a.example/token: (left out)}, labels: {a: b}}`},
		"labels that a VM's owner writes": {launcher,
			`{metadata: {name: p, labels: {kubevirt.io: virt-launcher, team: s3cret}}, spec: {containers: [{name: compute, args: [s3cret]}]}}`,
			`{metadata: {name: p, labels: {kubevirt.io: virt-launcher, team: (left out)}}, spec: {}}`},
		"the sidecar alone": {launcher,
			`{spec: {nodeName: node-1, volumes: [{name: init, secret: {secretName: s}}], initContainers: [{name: other, image: s3cret}, {name: hypervisor-exporter, image: i, env: [{name: GOGC, value: "25"}, {name: X, value: s3cret}]}]},
			  status: {phase: Running, message: s3cret, initContainerStatuses: [{name: other, ready: true}, {name: hypervisor-exporter, ready: false}]}}`,
			`{spec: {nodeName: node-1, volumes: [], initContainers: [{name: hypervisor-exporter, image: i, env: [{name: GOGC, value: "25"}, {name: X, value: (left out)}]}]},
			  status: {phase: Running, initContainerStatuses: [{name: hypervisor-exporter, ready: false}]}}`},
		"what a variable refers to": {each(variable),
			`[{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: s3cret, new: s3cret}]`,
			`[{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, value: (left out)}]`},
		"a container of others": {podSpec,
			`{containers: [{name: mesh, image: i, args: [s3cret], lifecycle: {}}], volumes: [{name: v, csi: {volumeAttributes: {k: s3cret}}}, {name: w, emptyDir: {}}]}`,
			`{containers: [{name: mesh, image: i}], volumes: [{name: v}, {name: w, emptyDir: {}}]}`},
		"another form than expected": {workload, `{metadata: s3cret, spec: [s3cret, {replicas: 2, template: s3cret}], status: 1}`, `{spec: [{replicas: 2}], status: 1}`},
	} {
		t.Run(name, func(t *testing.T) {
			var have any
			require.NoError(t, yaml.Unmarshal([]byte(one.have), &have))
			kept, err := yaml.Marshal(one.keep(have))
			require.NoError(t, err)
			require.YAMLEq(t, one.want, strings.ReplaceAll(string(kept), "null", "[]"))
		})
	}
}

func TestBundle(t *testing.T) {
	bundle := &Bundle{}
	bundle.Add("logs/a.log", []byte("Bearer abcdefghijklmnopqrstuvwxyz\n-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\n\teyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0x.abc\x1b\n"))
	bundle.Add("../../etc/pass wd", []byte("a bearer token\n"))
	bundle.Add("large", make([]byte, largestFile+1))
	bundle.Missing("pods", errors.New("you may not\n"))
	bundle.Index("head")
	var packed bytes.Buffer
	require.NoError(t, bundle.Write(&packed, "folder", time.Unix(1, 0)))

	uncompressed, err := gzip.NewReader(&packed)
	require.NoError(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(uncompressed); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		files[header.Name] = string(content)
	}
	require.Equal(t, "(left out)\n(left out)\n\t(left out)\\u001b\n", files["folder/logs/a.log"])
	require.Equal(t, "a bearer token\n", files["folder/etc/pass_wd"])
	require.Len(t, files, 3)
	index := files["folder/index.txt"]
	require.Contains(t, index, "       15  etc/pass_wd\n")
	require.Contains(t, index, "Not in the bundle:\nlarge: it has 8388609 bytes: a file may have 8388608, the bundle 50331648\npods: you may not\\n\n")
}

// However much there is to collect, the bundle has a limit.
func TestBundleIsBounded(t *testing.T) {
	bundle := &Bundle{}
	for range largestBundle/largestFile + 2 {
		bundle.Add("a", bytes.Repeat([]byte("a"), largestFile))
	}
	require.Len(t, bundle.Files, largestBundle/largestFile)
	require.Len(t, bundle.absent, 2)
}

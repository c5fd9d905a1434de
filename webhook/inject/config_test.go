package inject_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

func TestConfigValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*inject.Config)
		want   string // part of the error; empty: valid
	}{
		"default":           {func(*inject.Config) {}, ""},
		"digest":            {func(c *inject.Config) { c.Image = "r.example:5000/x@sha256:" + sha }, ""},
		"short image":       {func(c *inject.Config) { c.Image = "exporter" }, ""},
		"no image":          {func(c *inject.Config) { c.Image = "" }, "sidecar image"},
		"image with space":  {func(c *inject.Config) { c.Image = "r.example/x:v1 " }, "sidecar image"},
		"upper-case image":  {func(c *inject.Config) { c.Image = "r.example/X:v1" }, "sidecar image"},
		"no pull policy":    {func(c *inject.Config) { c.ImagePullPolicy = "" }, ""},
		"bad pull policy":   {func(c *inject.Config) { c.ImagePullPolicy = "Sometimes" }, "pull policy"},
		"pull secret":       {func(c *inject.Config) { c.PullSecrets = []string{"reg.cred"} }, ""},
		"bad pull secret":   {func(c *inject.Config) { c.PullSecrets = []string{"a b"} }, "pull secret"},
		"direct":            {func(c *inject.Config) { c.Exposure = inject.Direct }, ""},
		"no such exposure":  {func(c *inject.Config) { c.Exposure = 7 }, `exposure "exposure_7": want unix or direct`},
		"privileged port":   {func(c *inject.Config) { c.Port = 1023 }, "port 1023"},
		"no such port":      {func(c *inject.Config) { c.Port = 65536 }, "port 65536"},
		"migration port":    {func(c *inject.Config) { c.Port = 49152 }, "KubeVirt"},
		"istio port":        {func(c *inject.Config) { c.Port = 15020 }, "Istio"},
		"much cpu":          {func(c *inject.Config) { c.CPU = resource.MustParse("1") }, "cpu 1"},
		"no cpu":            {func(c *inject.Config) { c.CPU = resource.Quantity{} }, "cpu 0"},
		"little memory":     {func(c *inject.Config) { c.Memory = resource.MustParse("8Mi") }, "memory 8Mi"},
		"much memory":       {func(c *inject.Config) { c.Memory = resource.MustParse("1Gi") }, "memory 1Gi"},
		"go memory above":   {func(c *inject.Config) { c.GoMemory = resource.MustParse("25Mi") }, "go memory"},
		"no go memory":      {func(c *inject.Config) { c.GoMemory = resource.Quantity{} }, "go memory"},
		"no GOGC":           {func(c *inject.Config) { c.GOGC = 0 }, "GOGC 0"},
		"zero value (port)": {func(c *inject.Config) { *c = inject.Config{} }, "port 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig()
			test.change(&cfg)
			err := cfg.Validate()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

const sha = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestSidecarVersion(t *testing.T) {
	tests := map[string]struct{ image, version, want string }{
		"tag":            {"r.example:5000/x:v1.2.3", "", "v1.2.3"},
		"tag and digest": {"r.example/x:v1.2.3@sha256:" + sha, "", "v1.2.3"},
		"digest":         {"r.example:5000/x@sha256:" + sha, "", "sha256:" + sha},
		"neither":        {"r.example:5000/x", "", "latest"},
		"stated":         {"r.example/x:v1.2.3", "v9", "v9"},
		"no image":       {"", "", "unknown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, inject.Config{Image: test.image, Version: test.version}.SidecarVersion())
		})
	}
}

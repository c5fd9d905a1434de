package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/common/promslog"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"kubevirt-hypervisor-exporter/webhook/inject"
)

// unsetSidecarImage is what the manifests name until a user sets an image (manifests/images): it can never be pulled, and
// no one else can own it. It is the default of what prints pods; serve has no default.
const unsetSidecarImage = "images-not-set.see-docs-install.invalid/kubevirt-hypervisor-exporter/sidecar:v0.1.0"

// sidecarFlags are inject.Config as flags.
type sidecarFlags struct {
	config            inject.Config
	pullPolicy        string
	exposure          string
	cpu, memory, goMB string
}

// add defines the flags; image is the default of --sidecar-image.
func (f *sidecarFlags) add(flags *pflag.FlagSet, image string) {
	f.config = inject.Default(image)
	c := &f.config
	flags.StringVar(&c.Image, "sidecar-image", c.Image, "image of the sidecar; required by serve")
	flags.StringVar(&f.pullPolicy, "sidecar-image-pull-policy", string(c.ImagePullPolicy), "Always, IfNotPresent or Never; empty leaves it to the API server")
	flags.StringSliceVar(&c.PullSecrets, "sidecar-image-pull-secrets", nil, "pull secrets of which a pod must already name one; others are left as they are")
	flags.StringSliceVar(&c.Architectures, "sidecar-architectures", c.Architectures, "architectures that the sidecar's image is built for, as nodes have them in kubernetes.io/arch; pods that may run on others are left as they are")
	flags.StringVar(&f.exposure, "exposure", c.Exposure.String(), "how the sidecar is scraped: unix (a socket, through the node's relay) or direct (a TCP port of the pod)")
	flags.Int32Var(&c.Port, "sidecar-port", c.Port, "TCP port of the sidecar's metrics; with --exposure=unix it is declared, for Prometheus to find the pod, and not open")
	flags.StringVar(&f.cpu, "sidecar-cpu", c.CPU.String(), "CPU request and limit of the sidecar")
	flags.StringVar(&f.memory, "sidecar-memory", c.Memory.String(), "memory request and limit of the sidecar")
	flags.StringVar(&f.goMB, "sidecar-go-memory-limit", c.GoMemory.String(), "GOMEMLIMIT of the sidecar at that memory")
	flags.IntVar(&c.GOGC, "sidecar-gogc", c.GOGC, "GOGC of the sidecar, in percent")
	flags.StringVar(&c.Version, "sidecar-version", c.Version, "version written to injected pods; empty takes the image's tag")
}

// parse gives the configuration, validated.
func (f *sidecarFlags) parse() (inject.Config, error) {
	c := f.config
	c.ImagePullPolicy = corev1.PullPolicy(f.pullPolicy)
	var err error
	if c.Exposure, err = inject.ParseExposure(f.exposure); err != nil {
		return c, fmt.Errorf("--exposure: %w", err)
	}
	for _, q := range []struct {
		flag, value string
		into        *resource.Quantity
	}{
		{"sidecar-cpu", f.cpu, &c.CPU},
		{"sidecar-memory", f.memory, &c.Memory},
		{"sidecar-go-memory-limit", f.goMB, &c.GoMemory},
	} {
		parsed, err := resource.ParseQuantity(q.value)
		if err != nil {
			return c, fmt.Errorf("--%s=%q: %w: give a quantity such as 10m or 24Mi", q.flag, q.value, err)
		}
		*q.into = parsed
	}
	return c, c.Validate()
}

// logFlags are the usual two of every Prometheus program.
type logFlags struct {
	level  *promslog.Level
	format *promslog.Format
}

func (f *logFlags) add(flags *pflag.FlagSet) {
	f.level, f.format = promslog.NewLevel(), promslog.NewFormat()
	_ = f.format.Set("json") // one of FormatFlagOptions
	flags.Var(logValue{f.level, "level"}, "log-level", fmt.Sprintf("least level that is logged, one of %v", promslog.LevelFlagOptions))
	flags.Var(logValue{f.format, "format"}, "log-format", fmt.Sprintf("form of the log, one of %v", promslog.FormatFlagOptions))
}

func (f *logFlags) logger(w io.Writer) *slog.Logger {
	return promslog.New(&promslog.Config{Level: f.level, Format: f.format, Writer: w})
}

// logValue makes a pflag.Value of what promslog offers to kingpin and flag.
type logValue struct {
	value interface {
		String() string
		Set(string) error
	}
	kind string
}

func (v logValue) String() string {
	if v.value == nil {
		return ""
	}
	return v.value.String()
}
func (v logValue) Set(s string) error { return v.value.Set(s) }
func (v logValue) Type() string       { return v.kind }

// tlsVersion reads --tls-min-version, in the words of k8s.io/component-base.
func tlsVersion(name string) (uint16, error) {
	switch name {
	case "VersionTLS13":
		return tls.VersionTLS13, nil
	case "VersionTLS12":
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf("--tls-min-version=%q: want VersionTLS13 or VersionTLS12", name)
}

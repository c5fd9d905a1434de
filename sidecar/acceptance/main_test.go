package acceptance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
)

// The binaries under test; TestMain builds them.
var plain, raced, supervisor string

func TestMain(m *testing.M) {
	flag.Parse()
	moreParallel()
	os.Exit(buildAndRun(m))
}

// moreParallel lets more tests run at once than there are cores, unless the command
// line says how many: most of them wait most of the time.
func moreParallel() {
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	// go test always passes -test.parallel if it was given, and never otherwise.
	if !said {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	plain, raced, supervisor = filepath.Join(dir, "sidecar"), filepath.Join(dir, "sidecar-race"), filepath.Join(dir, "supervisor")
	// Whoever the sidecar runs as must reach its binary.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for _, build := range []struct {
		cgo  string
		args []string
	}{
		{"CGO_ENABLED=0", []string{"-o", plain, "kubevirt-hypervisor-exporter/sidecar"}},
		{"CGO_ENABLED=1", []string{"-race", "-o", raced, "kubevirt-hypervisor-exporter/sidecar"}},
		{"CGO_ENABLED=0", []string{"-o", supervisor, "kubevirt-hypervisor-exporter/sidecar/supervisor"}},
	} {
		cmd := exec.Command("go", append([]string{"build"}, build.args...)...)
		cmd.Env = append(os.Environ(), build.cgo)
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the sidecar (-race needs a C compiler: apt-get install -y gcc libc6-dev): %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}

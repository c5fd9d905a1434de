package acceptance

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"kubevirt-hypervisor-exporter/internal/testkit"
)

// The binaries under test; TestMain builds them.
var plain, raced, supervisor string

func TestMain(m *testing.M) {
	flag.Parse()
	moreParallel()
	os.Exit(buildAndRun(m))
}

// moreParallel lets more tests run at once than there are cores, unless the command
// line sets a number: most of them wait most of the time.
func moreParallel() {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(4*runtime.GOMAXPROCS(0)))
	}
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "acceptance-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) error {
	withRace := filepath.Join(dir, "race")
	plain, raced, supervisor = filepath.Join(dir, "sidecar"), filepath.Join(withRace, "sidecar"), filepath.Join(dir, "supervisor")
	if err := os.Chmod(dir, 0o755); err != nil { // other users run the binaries, too
		return err
	}
	if err := testkit.Build(context.Background(), dir, "./sidecar", "./sidecar/supervisor"); err != nil {
		return err
	}
	if err := testkit.Build(context.Background(), withRace, "-race", "./sidecar"); err != nil {
		return fmt.Errorf("-race needs a C compiler, apt-get install -y gcc libc6-dev: %w", err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/semver"

	"kubevirt-hypervisor-exporter/e2e/cache"
	"kubevirt-hypervisor-exporter/e2e/cluster"
	"kubevirt-hypervisor-exporter/e2e/images"
	"kubevirt-hypervisor-exporter/e2e/node"
	"kubevirt-hypervisor-exporter/e2e/programs"
)

// defaultKubeVirt is what E2E_KUBEVIRT overrides.
const defaultKubeVirt = "v1.9.0"

// lab is one cluster on this machine and what it is made of.
type lab struct {
	source   string // this module's folder
	product  string // the product's
	cache    cache.Dir
	node     *node.Node
	second   *node.Node
	kubevirt string
	timings  []string
}

func newLab() (*lab, error) {
	output, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("find the source of the end-to-end tests (run within e2e): %w", err)
	}
	dir, err := cache.User()
	if err != nil {
		return nil, err
	}
	l := &lab{source: strings.TrimSpace(string(output)), cache: dir, kubevirt: defaultKubeVirt}
	l.product = filepath.Dir(l.source)
	if version := os.Getenv("E2E_KUBEVIRT"); version != "" {
		l.kubevirt = version
	}
	if product := os.Getenv("E2E_PRODUCT"); product != "" {
		l.product = product
	}
	if err := node.CheckIP(os.Getenv("E2E_IP")); err != nil {
		return nil, fmt.Errorf("E2E_IP: %w", err)
	}
	l.node = node.First(dir.Path("node-1"))
	l.second = node.Second(dir.Path("node-2"), l.node)
	return l, nil
}

// step runs one part and notes how long it took.
func (l *lab) step(name string, do func() error) error {
	started := time.Now()
	err := do()
	l.timings = append(l.timings, fmt.Sprintf("%6.1f s  %s", time.Since(started).Seconds(), name))
	fmt.Println(l.timings[len(l.timings)-1])
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

type parts struct {
	kubernetes, kubevirt, operator, prometheus, kubeState programs.Set
	root, layer, archive, guest                           string
}

// make builds whatever the cache does not hold.
func (l *lab) make(ctx context.Context) (p parts, err error) {
	builder := programs.Builder{Source: filepath.Join(l.source, "programs"), Cache: l.cache}
	return p, errors.Join(
		l.step("Debian", func() (err error) { p.root, p.layer, err = images.Debian(ctx, l.cache); return }),
		l.step("guests", func() (err error) { p.guest, err = images.Guest(ctx, l.cache); return }),
		l.step("Kubernetes", func() (err error) { p.kubernetes, err = builder.Kubernetes(ctx, l.kubevirt); return }),
		l.step("KubeVirt "+l.kubevirt, func() (err error) { p.kubevirt, err = builder.KubeVirt(ctx, l.kubevirt); return }),
		l.step("Prometheus operator", func() (err error) { p.operator, err = builder.Monitoring(ctx); return }),
		l.step("Prometheus", func() (err error) { p.prometheus, err = builder.Prometheus(ctx); return }),
		l.step("kube-state-metrics", func() (err error) { p.kubeState, err = builder.KubeStateMetrics(ctx); return }),
	)
}

// up brings the cluster up. What is to be done meanwhile has time: that is waiting for the most part.
func (l *lab) up(ctx context.Context, meanwhile ...func(context.Context) error) (err error) {
	parts, err := l.make(ctx)
	if err != nil {
		return err
	}
	meanwhile = append(meanwhile, l.buildHelm)
	done := make(chan error, len(meanwhile))
	for _, do := range meanwhile {
		go func() { done <- do(ctx) }()
	}
	defer func() {
		for range meanwhile {
			err = errors.Join(err, <-done)
		}
	}()
	err = l.step("images", func() (err error) {
		parts.archive, err = images.Archive(ctx, l.cache, parts.layer, parts.kubevirt, parts.operator, parts.prometheus, parts.kubeState)
		return
	})
	if err != nil {
		return err
	}
	if l.node.PID() != 0 {
		return errRuns
	}
	if err := l.down(ctx); err != nil { // what a killed run left
		return err
	}
	l.node.Parts = node.Parts{
		Debian: parts.root, Kubernetes: parts.kubernetes.Dir, PauseImage: images.Pause, Reap: semver.Compare(l.kubevirt, "v1.7") < 0,
		IP:    os.Getenv("E2E_IP"),
		Binds: []string{parts.guest + ":/guest", filepath.Dir(parts.archive) + ":/images", filepath.Join(l.product, "bin") + ":/product"},
	}
	if err := l.step("node", func() error { return l.startNode(ctx) }); err != nil {
		return err
	}
	return l.install(ctx, parts)
}

// buildHelm builds what one of the checks wants.
func (l *lab) buildHelm(ctx context.Context) error {
	_, err := programs.Builder{Source: filepath.Join(l.product, "charts", "charttest"), Cache: l.cache}.Helm(ctx)
	return err
}

func (l *lab) startNode(ctx context.Context) error {
	if err := l.node.Start(ctx); err != nil {
		return err
	}
	client, err := cluster.Connect(l.node.Kubeconfig())
	if err != nil {
		return err
	}
	return client.WaitNode(ctx, l.node.Name)
}

func (l *lab) down(ctx context.Context) error {
	return errors.Join(l.second.Stop(ctx), l.node.Stop(ctx))
}

// errRuns is for who comes second: the cluster is another's.
var errRuns = errors.New("a cluster runs already: make e2e-down ends it")

// end takes the cluster away after a failure or an interrupt, unless it is another's or is to be looked at. It gives the
// failure back, with what else went wrong.
func (l *lab) end(ctx context.Context, failure error) error {
	if errors.Is(failure, errRuns) {
		return failure
	}
	if os.Getenv("E2E_KEEP") != "" {
		fmt.Println("E2E_KEEP is set: the cluster is left as it is, logs in", filepath.Join(l.node.State, "share", "log"))
		return failure
	}
	return errors.Join(failure, l.down(context.WithoutCancel(ctx)))
}

// test brings the cluster up, checks it and takes it away whatever happened.
func (l *lab) test(ctx context.Context, args []string) (err error) {
	defer func() {
		if err == nil {
			err = l.down(ctx)
			return
		}
		err = l.end(ctx, err)
	}()
	dir, err := os.MkdirTemp("", "e2e-checks-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program := filepath.Join(dir, "checks")
	if err := l.up(ctx, func(ctx context.Context) error { return l.compile(ctx, program) }); err != nil {
		return err
	}
	return l.step("checks", func() error { return l.check(ctx, program, args) })
}

func (l *lab) compile(ctx context.Context, program string) error {
	command := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, "./checks")
	command.Dir, command.Stdout, command.Stderr = l.source, os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("compile the checks: %w", err)
	}
	return nil
}

// secondTries is how many failed checks are tried again: more than that is not for want of time.
const secondTries = 2

// check runs the checks; args are go test's, such as -run TestStart. One that runs beside others on few CPUs may fail for
// want of time: it is run once more by itself, and what it said the first time is said at the end all the same.
func (l *lab) check(ctx context.Context, program string, args []string) error {
	failed, err := l.run(ctx, program, args)
	names, beside := failed.checks()
	var ended *exec.ExitError
	cameToAnEnd := errors.As(err, &ended) && ended.ExitCode() == 1 // go test's, unless it panicked or was killed
	if cameToAnEnd && beside && len(names) <= secondTries && ctx.Err() == nil {
		fmt.Println("Once more, by themselves:", names)
		var again *failures
		if again, err = l.run(ctx, program, []string{"-run=^(" + strings.Join(names, "|") + ")$", "-parallel=1"}); err == nil {
			failed.picked.WriteString("but all is well when they run by themselves\n")
		}
		failed.picked.WriteString(again.picked.String())
	}
	if failed.picked.Len() > 0 {
		fmt.Print("What failed:\n", failed.picked.String())
	}
	return err
}

// run runs checks once. It is not go test that does, for they would outlive it.
func (l *lab) run(ctx context.Context, program string, args []string) (*failures, error) {
	flags := []string{"-test.v", "-test.parallel=8", "-test.timeout=40m"}
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "-"); ok {
			arg = "-test." + strings.TrimPrefix(name, "-")
		}
		flags = append(flags, arg)
	}
	command := exec.CommandContext(ctx, program, flags...)
	failed := new(failures)
	command.Dir, command.Stdout, command.Stderr = filepath.Join(l.source, "checks"), io.MultiWriter(os.Stdout, failed), os.Stderr
	// They end with us, however we end; the kernel takes the end of the thread for ours.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return failed, command.Run()
}

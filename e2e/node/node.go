// Package node runs a Kubernetes node in namespaces of its own (mount, network, pid, uts, ipc) on a root of its own,
// so that nothing of it is on the machine outside its state folder, its cgroups and one bridge, and all of its
// processes end with its first.
package node

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var (
	//go:embed init.sh
	initScript string
	//go:embed supervise.sh
	superviseScript string
	//go:embed reap.sh
	reapScript string
)

// bridge connects the nodes with each other and with the machine.
const bridge = "kvhe-e2e"

// Node is one node. Its fields are set before Start and not changed after.
type Node struct {
	Name         string
	State        string // the folder of all that it writes
	number       int    // in its addresses
	Cgroup       string
	KubeletRoot  string // the kubelet's --root-dir, inside the node
	ControlPlane *Node  // nil for the node that runs it
	Parts
}

// Parts are what a node is made of.
type Parts struct {
	Debian     string // root folder
	Kubernetes string // folder of Kubernetes' programs
	IP         string // see families
	PauseImage string
	Reap       bool     // see reap.sh
	Binds      []string // further folders to show inside, read-only, as from:to
}

// DefaultKubeletRoot is where most kubelets keep their pods. k0s, microk8s and others have folders of their own.
const DefaultKubeletRoot = "/var/lib/kubelet"

// First gives the node with the control plane; state is its folder.
func First(state string) *Node {
	return &Node{Name: "e2e-node-1", State: state, number: 1, Cgroup: "kvhe-e2e-1", KubeletRoot: DefaultKubeletRoot}
}

// Second gives a worker beside the first, made of the same parts.
func Second(state string, first *Node) *Node {
	return &Node{Name: "e2e-node-2", State: state, number: 2, Cgroup: "kvhe-e2e-2", KubeletRoot: DefaultKubeletRoot,
		ControlPlane: first, Parts: first.Parts}
}

// Kubeconfig is the path of a kubeconfig for the machine.
func (n *Node) Kubeconfig() string { return n.share("kubeconfig.host") }

// Registries is the folder, on the machine, in which containerd's hosts.toml say where image registries are.
func (n *Node) Registries() string { return n.share("registries") }

// Outside is the machine's address as the node sees it, that of IPv4.
func (n *Node) Outside() string { return ipv4.machine }

// Start starts the node and returns once its programs have been started. It lives on when this process ends.
func (n *Node) Start(ctx context.Context) error {
	if err := n.configure(); err != nil {
		return fmt.Errorf("configure %s: %w", n.Name, err)
	}
	log, err := os.Create(filepath.Join(n.State, "init.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the child has its own
	script := filepath.Join(n.State, "init.sh")
	if err := os.WriteFile(script, []byte(initScript), 0o755); err != nil {
		return err
	}
	binds := append([]string{n.Kubernetes + ":/opt/kubernetes"}, n.Binds...)
	first := exec.Command("bash", script) // not CommandContext: it outlives us
	first.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"STATE=" + n.State, "DEBIAN=" + n.Debian, "CGROUP=" + n.Cgroup, "NODE=" + n.Name, "KUBELET=" + n.KubeletRoot, "BINDS=" + strings.Join(binds, " "),
	}
	first.Stdout, first.Stderr = log, log
	first.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	if err := first.Start(); err != nil {
		return fmt.Errorf("start %s (needs root): %w", n.Name, err)
	}
	if err := n.remember(first.Process.Pid); err != nil {
		return errors.Join(err, first.Process.Kill())
	}
	if err := n.connect(ctx, first.Process.Pid); err != nil {
		return fmt.Errorf("connect %s to the bridge: %w", n.Name, err)
	}
	if err := os.WriteFile(n.share("connected"), nil, 0o644); err != nil {
		return err
	}
	return Until(ctx, 5*time.Minute, "the first program of "+n.Name+" (see "+log.Name()+")", func(context.Context) error {
		_, err := os.Stat(n.share("pid", "kubelet"))
		return err
	})
}

// outerLink is the machine's end of the node's eth0.
func (n *Node) outerLink() string { return bridge + "-" + strconv.Itoa(n.number) }

// connect gives the node its eth0, on a bridge that the machine is on, too.
func (n *Node) connect(ctx context.Context, pid int) error {
	target := strconv.Itoa(pid)
	outer := n.outerLink()
	if err := run(ctx, "ip", "link", "show", bridge); err != nil {
		if err := all(ctx, "ip link add "+bridge+" type bridge", "ip link set "+bridge+" up"); err != nil {
			return err
		}
		for _, f := range n.families() {
			if err := all(ctx, "ip addr add "+f.machine+f.prefix+" dev "+bridge+f.settled); err != nil {
				return err
			}
		}
	}
	inside := "nsenter -t " + target + " -n "
	commands := []string{
		"ip link add " + outer + " type veth peer name eth0 netns " + target,
		"ip link set " + outer + " master " + bridge + " up",
		inside + "ip link set lo up",
		inside + "ip link set eth0 up",
	}
	for _, f := range n.families() {
		commands = append(commands,
			inside+"ip addr add "+n.address(f)+f.prefix+" dev eth0"+f.settled,
			inside+"ip route add "+f.anywhere+" via "+f.machine,
			"ip route replace "+n.podNet(f)+" via "+n.address(f))
		if first := n.ControlPlane; first != nil {
			commands = append(commands,
				inside+"ip route add "+first.podNet(f)+" via "+first.address(f),
				"nsenter -t "+strconv.Itoa(first.PID())+" -n ip route replace "+n.podNet(f)+" via "+n.address(f))
		}
	}
	return all(ctx, commands...)
}

func all(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if err := run(ctx, strings.Fields(c)...); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, args ...string) error {
	output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

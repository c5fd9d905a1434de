package node

import (
	"context"
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

// remember writes down the first process with its start time, so that a later process of the same number is not taken for it.
func (n *Node) remember(pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.State, "init.pid"), fmt.Appendf(nil, "%d %s", pid, started), 0o644)
}

// PID is the node's first process as the machine sees it; 0 while it does not run.
func (n *Node) PID() int {
	noted, err := os.ReadFile(filepath.Join(n.State, "init.pid"))
	if err != nil {
		return 0
	}
	number, started, _ := strings.Cut(string(noted), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	if now, err := startTime(pid); err != nil || now != started {
		return 0
	}
	return pid
}

// startTime is field 22 of /proc/PID/stat (proc(5)); an error means that there is no such process, or a zombie.
func startTime(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if fields[0] == "Z" || fields[0] == "X" {
		return "", os.ErrProcessDone
	}
	return fields[19], nil
}

// Command makes a command that runs inside the node.
func (n *Node) Command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(n.PID()), "-m", "-n", "-p", "-u", "-i", "--"}, args...)...)
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
	return command
}

// Run runs a command inside the node and returns what it printed.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	output, err := n.Command(ctx, args...).CombinedOutput()
	if err != nil {
		return string(output), fmt.Errorf("on %s: %s: %w: %s", n.Name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return string(output), nil
}

// Signal sends a signal to one of the node's programs, such as etcd.
func (n *Node) Signal(ctx context.Context, program string, signal syscall.Signal) error {
	pid, err := os.ReadFile(n.share("pid", program))
	if err != nil {
		return err
	}
	_, err = n.Run(ctx, "kill", fmt.Sprintf("-%d", signal), strings.TrimSpace(string(pid)))
	return err
}

// Reboot ends every process of the node, as a power failure does, and starts it again with the disk that it had.
func (n *Node) Reboot(ctx context.Context) error {
	if err := n.halt(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(n.share("pid")); err != nil { // Start waits for the new kubelet's
		return err
	}
	return n.Start(ctx)
}

// Stop ends every process of the node and removes everything that it left on the machine, also after a node that was not
// stopped properly. Its state folder goes too.
func (n *Node) Stop(ctx context.Context) error {
	if err := n.halt(ctx); err != nil {
		return err
	}
	return os.RemoveAll(n.State)
}

// halt ends every process of the node and removes everything but its state folder.
func (n *Node) halt(ctx context.Context) error {
	if pid := n.PID(); pid != 0 {
		// The kernel ends the whole pid namespace with its first process.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end %s: %w", n.Name, err)
		}
		if err := Until(ctx, 5*time.Minute, "the end of "+n.Name, func(context.Context) error {
			if n.PID() != 0 {
				return errors.New("still there")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	err := Until(ctx, 5*time.Minute, "the cgroups of "+n.Name+" to empty", func(ctx context.Context) error { return removeCgroups(ctx, n.Cgroup) })
	links := []string{n.outerLink()} // the kernel takes it away too, but later
	if n.ControlPlane == nil {
		links = append(links, bridge)
	}
	for _, link := range links {
		if e := run(ctx, "ip", "link", "del", link); e != nil && !strings.Contains(e.Error(), "Cannot find device") {
			err = errors.Join(err, e)
		}
	}
	mounts, e := os.ReadFile("/proc/self/mountinfo")
	if e != nil || strings.Contains(string(mounts), " "+n.State+"/") {
		return errors.Join(err, e, fmt.Errorf("%s is still a mount on this machine; its state folder stays", n.State))
	}
	return err
}

// removeCgroups removes the node's cgroups, with all below them. It fails while there are processes in one.
func removeCgroups(ctx context.Context, name string) error {
	return run(ctx, "find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "/sys/fs/cgroup/*"+name+"*", "-delete")
}

// Until calls check about three times a second until it returns nil. After limit, or when ctx ends, it returns the
// last error, and what was waited for.
func Until(ctx context.Context, limit time.Duration, what string, check func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	started := time.Now()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %.0f s for %s: %w", time.Since(started).Seconds(), what, err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

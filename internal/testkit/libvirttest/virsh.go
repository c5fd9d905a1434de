package libvirttest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

// Virsh runs one virsh command on the daemon, as its user, and returns what it
// printed. When ctx ends, virsh is killed, and what it waited for goes on.
func (d *Daemon) Virsh(ctx context.Context, args ...string) (string, error) {
	base := d.command("/usr/bin/virsh", append([]string{"-q", "-c", d.URI()}, args...)...)
	cmd := exec.CommandContext(ctx, base.Path, base.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = base.Env, base.Dir, base.SysProcAttr
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := d.launcher.do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("virsh %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

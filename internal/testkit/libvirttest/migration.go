package libvirttest

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MigrateOptions of StartMigration; the zero value is a plain pre-copy.
type MigrateOptions struct {
	// PostCopy allows Migration.SwitchToPostCopy.
	PostCopy bool
	// Bandwidth bounds the copying, in MiB/s. 0 means unbounded.
	Bandwidth int
	// PostCopyBandwidth bounds the copying once the target runs, in MiB/s.
	PostCopyBandwidth int
}

// Migration is a live migration under way.
type Migration struct {
	// Source and Target are the domain on both sides.
	Source, Target *Domain

	done chan struct{}
	err  error
}

// Migrate moves a running domain to another daemon and waits for it.
func (d *Domain) Migrate(ctx context.Context, to *Daemon, o MigrateOptions) (*Domain, error) {
	m, err := d.StartMigration(ctx, to, o)
	if err != nil {
		return nil, err
	}
	return m.Target, m.Wait()
}

// StartMigration begins to move a running domain to another daemon, with the flags
// and URIs of KubeVirt 1.9 (pkg/virt-launcher/virtwrap/live-migration-source.go): live,
// peer to peer, persistent on the target. The caller must Wait for it; when ctx
// ends, Wait returns, and libvirt goes on.
func (d *Domain) StartMigration(ctx context.Context, to *Daemon, o MigrateOptions) (*Migration, error) {
	m := &Migration{Source: d, Target: &Domain{daemon: to, name: d.name, serial: d.serial}, done: make(chan struct{})}
	args := []string{"migrate", "--live", "--p2p", "--persistent", d.name, "--desturi", to.uri()}
	if o.PostCopy {
		args = append(args, "--postcopy")
	}
	if o.Bandwidth > 0 {
		args = append(args, "--bandwidth", strconv.Itoa(o.Bandwidth))
	}
	if o.PostCopyBandwidth > 0 {
		args = append(args, "--postcopy-bandwidth", strconv.Itoa(o.PostCopyBandwidth))
	}
	sock := filepath.Join(to.folder.run(), fmt.Sprintf("migrate-%d.sock", time.Now().UnixNano()))
	args = append(args, "--migrateuri", "unix://"+sock)
	go func() {
		defer close(m.done)
		_, m.err = d.daemon.Virsh(ctx, args...)
	}()
	return m, nil
}

// Wait returns when libvirt has ended the migration: nil if the guest runs on the target.
func (m *Migration) Wait() error {
	<-m.done
	return m.err
}

// SetBandwidth changes the bound of the copying, in MiB/s.
func (m *Migration) SetBandwidth(ctx context.Context, bandwidth int) error {
	return m.Source.virsh(ctx, "migrate-setspeed", strconv.Itoa(bandwidth))
}

// SwitchToPostCopy lets the guest go on at the target with what memory is there, and
// returns when it runs there: libvirt's own command returns before.
func (m *Migration) SwitchToPostCopy(ctx context.Context) error {
	if err := m.Source.virsh(ctx, "migrate-postcopy"); err != nil {
		return err
	}
	return poll(ctx, m.done, "migration of "+m.Source.name+" did not switch over", func() (string, bool) {
		state, err := m.Target.daemon.Virsh(ctx, "domstate", m.Target.name)
		return state, err == nil && state == "running"
	})
}

// AwaitCopying waits until memory is on its way.
func (m *Migration) AwaitCopying(ctx context.Context) error {
	return poll(ctx, m.done, "migration of "+m.Source.name+" did not begin to copy", func() (string, bool) {
		info, err := m.Source.daemon.Virsh(ctx, "domjobinfo", m.Source.name)
		return info, err == nil && strings.Contains(info, "Memory processed")
	})
}

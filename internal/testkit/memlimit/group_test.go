package memlimit

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestField(t *testing.T) {
	for _, test := range []struct {
		name, text string
		field      field
		want       float64
	}{
		{"a file that is a number", "20963328\n", field{}, 20963328},
		{"v1 oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", field{key: "oom_kill"}, 3},
		{"v2 memory.events", "low 0\nhigh 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n", field{key: "max"}, 41},
		{"v2 memory.stat", "anon 4096\nfile 8192\n", field{key: "anon"}, 4096},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.field.parse([]byte(test.text))
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	_, err := field{key: "oom_kill"}.parse([]byte("oom 1\n"))
	require.Error(t, err)
}

// TestVersion: where v2 has no memory controller, v1 has it.
func TestVersion(t *testing.T) {
	for text, want := range map[string]bool{"cpuset cpu io memory pids\n": true, "": false} {
		mount := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(mount, "cgroup.controllers"), []byte(text), 0o600))
		require.Equal(t, want, isV2(mount))
	}
	require.False(t, isV2(t.TempDir()))
}

// TestSettings: what is written for a container, into files as the kernel has them.
func TestSettings(t *testing.T) {
	limits := Limits{Memory: 24 << 20, CPU: 0.5}
	for name, c := range map[string]struct {
		version version
		want    map[string]string
	}{
		"v1": {v1, map[string]string{"memory.limit_in_bytes": "25165824", "memory.memsw.limit_in_bytes": "25165824", "cpu.cfs_quota_us": "50000"}},
		"v2": {v2, map[string]string{"memory.max": "25165824", "memory.swap.max": "0", "cpu.max": "50000 100000"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for file := range c.want {
				require.NoError(t, os.WriteFile(filepath.Join(folder, file), nil, 0o600))
			}
			for _, s := range c.version.settings(limits) {
				require.NoError(t, s.write(folder))
			}
			for file, want := range c.want {
				got, err := os.ReadFile(filepath.Join(folder, file))
				require.NoError(t, err)
				require.Equal(t, want, string(got), file)
			}
		})
	}
	require.NoError(t, setting{file: "none", optional: true}.write(t.TempDir()))
	require.Error(t, setting{file: "none"}.write(t.TempDir()))
}

// TestGroupKills: a program that takes more than the limit is killed, and counted.
func TestGroupKills(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("cgroups are root's: run this test as root")
	}
	group, err := New(Mount, Limits{Memory: 16 << 20})
	require.NoError(t, err)
	defer func() { require.NoError(t, group.Remove()) }()
	modest := group.Command("true")
	require.NoError(t, exec.Command(modest[0], modest[1:]...).Run())
	use, err := group.Use()
	require.NoError(t, err)
	require.Zero(t, use.Kills)

	greedy := group.Command("tail", "/dev/zero") // looks for the end of the only line
	require.Error(t, exec.Command(greedy[0], greedy[1:]...).Run())
	use, err = group.Use()
	require.NoError(t, err)
	require.Equal(t, 1.0, use.Kills)
	require.InDelta(t, 16<<20, use.Peak, 1<<20)
	anonymous, err := group.Anonymous()
	require.NoError(t, err)
	require.Less(t, anonymous, 16.0*(1<<20))
}

package main

import (
	"bufio"
	"io"
	"log/slog"
	"os"
	"strings"

	"kubevirt-hypervisor-exporter/relay/podsocket"
)

// mountinfo lists the container's mounts (proc_pid_mountinfo(5)); one of a pod's has some 200 bytes.
const (
	mountinfo    = "/proc/self/mountinfo"
	mountinfoMax = 8 << 20
)

// A mount is a line of mountinfo.
type mount struct {
	// root is what is mounted, as a path within its file system.
	root string
	// point is where, as the process sees it.
	point    string
	writable bool
}

// folderOf returns the kubelet's folder of pods as its file system calls it, or "". The kubelet
// mounts files of the pod's folder into each container: etc-hosts and the termination log.
func folderOf(pod podsocket.UID) string {
	for _, m := range mounts() {
		if before, _, found := strings.Cut(m.root, "/"+string(pod)+"/"); found {
			return before
		}
	}
	return ""
}

// reportMounts logs whether the relay, as root, could write to what is mounted below the
// kubelet's folder: other pods' tmpfs and PVCs.
func reportMounts(dir string, logger *slog.Logger) {
	total, writable := mountsBelow(dir, mounts())
	if writable > 0 {
		logger.Warn("mounts below the kubelet's folder are writable for a taken-over relay that Landlock does not confine: recursiveReadOnly is not in force, which needs Kubernetes 1.31, Linux 5.12 and containerd 2.0 or CRI-O 1.30",
			"pods_dir", dir, "mounts", total, "writable", writable)
		return
	}
	logger.Info("nothing below the kubelet's folder is writable", "pods_dir", dir, "mounts", total)
}

// mountsBelow counts the mounts at the folder and below it.
func mountsBelow(dir string, mounts []mount) (total, writable int) {
	for _, m := range mounts {
		if m.point == dir || strings.HasPrefix(m.point, dir+"/") {
			total++
			if m.writable {
				writable++
			}
		}
	}
	return total, writable
}

// mounts is empty where /proc cannot be read.
func mounts() []mount {
	file, err := os.Open(mountinfo)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	return parseMounts(io.LimitReader(file, mountinfoMax))
}

// parseMounts leaves out lines that it does not understand.
func parseMounts(r io.Reader) []mount {
	var found []mount
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		perMount, perFileSystem, ok := strings.Cut(lines.Text(), " - ")
		fields, rest := strings.Fields(perMount), strings.Fields(perFileSystem)
		if !ok || len(fields) < 6 || len(rest) < 3 {
			continue
		}
		found = append(found, mount{
			root:     fields[3],
			point:    fields[4],
			writable: option(fields[5], "rw") && option(rest[2], "rw"),
		})
	}
	return found
}

func option(options, name string) bool {
	return strings.Contains(","+options+",", ","+name+",")
}

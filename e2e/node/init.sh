#!/bin/bash
# PID 1 of a node, in mount, net, pid, uts and ipc namespaces of its own. The environment has STATE (this node's
# folder), DEBIAN (the root's lower layer), CGROUP (of this node's pods), NODE (its name), KUBELET (its kubelet's root).
set -euo pipefail
mount --make-rprivate /
root=$STATE/root
mkdir -p "$root" "$STATE"/{upper,work,containerd,kubelet,log}
mount -t overlay overlay -o "lowerdir=$DEBIAN,upperdir=$STATE/upper,workdir=$STATE/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys" # that of the new network namespace
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 run "$root/run"
# A /dev of its own: nothing made there is left on the machine.
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir -p "$root"/dev/{pts,shm,mqueue,net} "$root"/run/{lock,netns} "$root/node"
for d in null zero full random urandom tty kmsg kvm fuse net/tun loop-control; do
  if [ -e "/dev/$d" ]; then cp -a "/dev/$d" "$root/dev/$d"; fi
done
[ -e "$root/dev/net/tun" ] || mknod -m 666 "$root/dev/net/tun" c 10 200
[ -e "$root/dev/vhost-net" ] || mknod -m 666 "$root/dev/vhost-net" c 10 238 # only to be advertised
ln -s pts/ptmx "$root/dev/ptmx"
mount -t devpts -o newinstance,mode=620,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
# What an overlay must not lie on another overlay for, and what is shared with the outside.
mkdir -p "$root"/var/lib/{containerd,kubelet/pods} "$root$KUBELET" "$STATE/kubelet/pods"
mount --bind "$STATE/containerd" "$root/var/lib/containerd"
mount --bind "$STATE/kubelet" "$root$KUBELET"
# KubeVirt expects pods in the usual folder only: mount the kubelet's there. A check unmounts it again.
[ "$KUBELET" = /var/lib/kubelet ] || mount --bind "$STATE/kubelet/pods" "$root/var/lib/kubelet/pods"
mount --rbind "$STATE/share" "$root/node"
for extra in $BINDS; do # from:to
  mkdir -p "$root${extra#*:}"
  mount --bind -o ro "${extra%:*}" "$root${extra#*:}"
done
cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
mount --make-rshared /
hostname "$NODE"
touch /etc/resolv.conf # the kubelet reads it; there is no DNS server
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1 || true
# A fresh cpuset has no CPUs and no memory nodes (cgroup v1).
for c in /sys/fs/cgroup/*/; do [ "$(basename "$c")" = unified ] || mkdir -p "$c$CGROUP"; done
for f in cpus mems; do cat "/sys/fs/cgroup/cpuset/cpuset.$f" >"/sys/fs/cgroup/cpuset/$CGROUP/cpuset.$f"; done
# Some checks measure times: the node has priority over other work on the machine, and its programs over its pods.
mkdir "/sys/fs/cgroup/cpu/$CGROUP/node"
echo 4096 >"/sys/fs/cgroup/cpu/$CGROUP/cpu.shares"
echo 16384 >"/sys/fs/cgroup/cpu/$CGROUP/node/cpu.shares"
echo $$ >"/sys/fs/cgroup/cpu/$CGROUP/node/cgroup.procs"
exec bash /node/supervise.sh

#!/bin/bash
# debian.sh DIR SUITE PACKAGE...: a Debian tree in DIR/root, which is the node's root and, packed as DIR/layer.tar
# without what only the node needs, the lowest layer of every image.
set -euo pipefail
dir=$1 suite=$2 root=$1/root
shift 2
packages=$(printf ',%s' "$@")
mkdir -p "$root"
nice -n 10 debootstrap --variant=minbase --include="${packages#,}" "$suite" "$root" >"$dir/debootstrap.log" 2>&1 ||
  { tail -n 20 "$dir/debootstrap.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,locale,man}
rm -rf "${root:?}"/dev/* "$root"/etc/hostname "$root"/etc/resolv.conf

# As in KubeVirt's images: qemu is uid and gid 107.
sed -i '/:x:107:/d' "$root/etc/passwd" "$root/etc/group"
echo 'qemu:x:107:107:qemu:/home/qemu:/bin/bash' >>"$root/etc/passwd"
echo 'qemu:x:107:' >>"$root/etc/group"
# What Debian's libvirt-daemon-system would have made.
echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>"$root/etc/passwd"
for group in libvirt-qemu:64055 kvm:11100 libvirt:11200; do
  name=${group%:*}
  grep -q "^$name:" "$root/etc/group" || echo "$name:x:${group#*:}:" >>"$root/etc/group"
done
mkdir -p "$root"/home/qemu "$root"/etc/libvirt "$root"/var/log/libvirt/qemu "$root"/var/lib/libvirt/qemu "$root"/var/cache/libvirt
chown 107:107 "$root/home/qemu"
touch "$root/etc/libvirt/virtlogd.conf" "$root/etc/libvirt/libvirtd.conf"
rm -rf "$root/var/run"
ln -s ../run "$root/var/run"

tar -C "$root" --numeric-owner --xattrs --xattrs-include='*' --sort=name \
  --exclude='./usr/bin/containerd*' --exclude=./usr/bin/etcd --exclude=./usr/bin/ctr --exclude='./usr/lib/cni/*' \
  --exclude=./usr/sbin/runc --exclude='./usr/lib/modules/*' --exclude='./var/lib/dpkg/info/*' \
  -cf "$dir/layer.tar" .

#!/bin/bash
# guest.sh DIR INIT REACH: a tiny guest as DIR/<variant>/disk.img: Debian's cloud kernel with busybox and INIT, bootable
# from a CD. REACH answers over HTTP.
# acpi runs until its power button is pressed; off powers itself off after 8 s; crash panics after 8 s.
set -euo pipefail
dir=$1 init=$2 reach=$3
mkdir -p "$dir/deb"
cd "$dir/deb"
kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
apt-get download -q "$kernel" busybox-static isolinux syslinux-common >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" "$dir/x"; done

root=$dir/root
mkdir -p "$root"/{bin,proc,sys,dev,www,mod,etc/acpi/PWRF,tmp}
cp "$dir/x/bin/busybox" "$root/bin/"
echo "hello from the guest" >"$root/www/index.html"
install -D -m 755 "$reach" "$root/www/cgi-bin/reach"
for module in failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net button evdev pvpanic pvpanic-mmio; do
  find "$dir"/x/lib/modules/*/kernel -name "$module.ko*" -exec cp {} "$root/mod/" \;
done
printf '#!/bin/sh\necho "guest: power button" >/dev/console\npoweroff -f\n' >"$root/etc/acpi/PWRF/00000080"
install -m 755 "$init" "$root/init"
chmod 755 "$root/etc/acpi/PWRF/00000080"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initrd.gz"

for variant in acpi off crash; do
  iso=$dir/iso-$variant
  mkdir -p "$iso/isolinux" "$dir/$variant"
  cp "$dir/x/usr/lib/ISOLINUX/isolinux.bin" "$dir/x/usr/lib/syslinux/modules/bios/ldlinux.c32" "$iso/isolinux/"
  cp "$dir"/x/boot/vmlinuz-* "$iso/vmlinuz"
  cp "$dir/initrd.gz" "$iso/"
  printf 'SERIAL 0 115200\nDEFAULT l\nPROMPT 0\nTIMEOUT 1\nLABEL l\n KERNEL /vmlinuz\n INITRD /initrd.gz\n APPEND console=ttyS0 panic=0 no_timer_check quiet then=%s\n' "$variant" >"$iso/isolinux/isolinux.cfg"
  xorriso -as mkisofs -quiet -o "$dir/$variant/disk.img" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$iso" 2>/dev/null
  chmod 777 "$dir/$variant"
  chown 107:107 "$dir/$variant/disk.img"
done
rm -rf "$dir"/{deb,x,root,iso-*,initrd.gz}

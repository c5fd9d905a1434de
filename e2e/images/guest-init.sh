#!/bin/busybox sh
# shellcheck shell=dash
# The guest's PID 1: an address by DHCP, HTTP on port 80 and on the product's, the power button obeyed; then what the kernel's command line
# says. It is udhcpc's script too.
if [ $$ != 1 ]; then
  [ "$1" = bound ] || exit 0
  # shellcheck disable=SC2154 # udhcpc sets them
  ip addr add "$ip/${mask:-24}" dev "$interface"
  # shellcheck disable=SC2154
  for r in $router; do ip route add default via "$r" dev "$interface"; done
  echo "guest: DHCP gave $ip" >/dev/console
  exit 0
fi
/bin/busybox mkdir -p /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
for m in failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net button evdev pvpanic pvpanic-mmio; do
  [ -f "/mod/$m.ko" ] && insmod "/mod/$m.ko"
done
sleep 1
ip link set lo up
for i in /sys/class/net/e*; do
  n=$(basename "$i")
  ip link set "$n" up
  udhcpc -i "$n" -n -q -t 5 -s /init
  # What KubeVirt's masquerade takes a guest's IPv6 address to be; no router here announces it.
  ip -6 addr add fd10:0:2::2/120 dev "$n" && ip -6 route add default via fd10:0:2::1 dev "$n"
done
acpid -d -c /etc/acpi >/dev/null 2>&1 &
sleep 2
for port in 9477 9478 80; do # 80 last: a guest that answers here obeys the power button, too
  httpd -p "$port" -h /www
done
then=$(sed -n 's/.*then=\([a-z]*\).*/\1/p' /proc/cmdline)
echo "guest: up, then $then"
case $then in
  off) sleep 8; echo "guest: powering off by itself"; poweroff -f ;;
  crash) sleep 8; echo "guest: crashing"; echo c >/proc/sysrq-trigger ;;
esac
while :; do sleep 3600; done

#!/bin/bash
# Debian has no virtqemud. This replaces it: libvirtd binds libvirt-sock; renamed, the same sockets have virtqemud's names.
d=/var/run/libvirt
[ "$(id -u)" = 0 ] || d=${XDG_RUNTIME_DIR:-/var/run}/libvirt
mkdir -p "$d"
case " $* " in *" -d "*) exec /usr/sbin/libvirtd "$@" ;; esac
(
  for _ in $(seq 400); do
    if [ -S "$d/libvirt-sock" ]; then
      sleep 0.1
      for s in sock sock-ro admin-sock; do [ -S "$d/libvirt-$s" ] && mv -f "$d/libvirt-$s" "$d/virtqemud-$s"; done
      exit 0
    fi
    sleep 0.05
  done
) </dev/null >/dev/null 2>&1 &
exec /usr/sbin/libvirtd "$@"

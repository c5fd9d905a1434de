#!/bin/busybox sh
# shellcheck shell=dash
# GET /cgi-bin/reach?ADDRESS:PORT connects from within the guest, and answers "open", or why not.
export PATH=/bin
printf 'Content-Type: text/plain\r\n\r\n'
if why=$(timeout 5 nc -w 3 "${QUERY_STRING%:*}" "${QUERY_STRING##*:}" </dev/null 2>&1 >/dev/null); then
  echo open
else
  echo "closed: $why"
fi

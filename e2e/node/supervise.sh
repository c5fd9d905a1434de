#!/bin/bash
# Runs the node's programs, each line of /node/programs a name and a command, and starts again what ends. A program is
# held back while /node/hold/NAME exists.
set -uo pipefail
mkdir -p /node/log /node/pid /node/hold
until [ -e /node/connected ]; do sleep 0.1; done # eth0 is given from outside
cd /node/pki || exit
while read -r name command; do
  while :; do
    while [ -e "/node/hold/$name" ]; do sleep 0.2; done
    # shellcheck disable=SC2086 # the command's words
    $command >>"/node/log/$name.log" 2>&1 &
    echo $! >"/node/pid/$name"
    wait $!
    echo "supervise: $name ended with $?" >>"/node/log/$name.log"
    sleep 1
  done </dev/null &
done </node/programs
wait

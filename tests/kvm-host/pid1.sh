#!/bin/bash
# First process of the test host once its root is there: runs the job, reports its exit code, and ends
# the machine. $1 is run's scratch folder.

# The device of the virtio-serial port of that name.
port() {
  local entry
  for entry in /sys/class/virtio-ports/*; do
    if [ "$(<"$entry/name")" = "$1" ]; then echo "/dev/${entry##*/}"; fi
  done
}

# A port can be open only once, so that "/dev/stderr" would fail: pipes lie between.
exec 3> >(exec cat >"$(port stdout)"); stdout=$!
exec 4> >(exec cat >"$(port stderr)"); stderr=$!
ulimit -Hn 524288

/bin/bash "$1/job" </dev/null >&3 2>&4 3>&- 4>&-
code=$?

# What the job left running would hold the pipes open.
for process in /proc/[0-9]*; do
  case ${process#/proc/} in 1 | "$stdout" | "$stderr") ;; *) kill -KILL "${process#/proc/}" 2>/dev/null ;; esac
done
exec 3>&- 4>&-
wait "$stdout" "$stderr"
sync
echo "$code" >"$(port status)"
# With -no-reboot a reset is QEMU's end.
echo b >/proc/sysrq-trigger

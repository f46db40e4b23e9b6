#!/bin/bash
# python:3, Debian with the whole of python3 as a second layer. Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/second-layer.sh"

dir=$(cached python "$0" "$here/second-layer.sh" "$here/debian.sh" "$here/lib.sh")
out=$dir/python.tar
if [ ! -e "$out" ]; then
  need mmdebstrap=mmdebstrap
  base=$(dirname "$("$here/debian.sh")")/layer.tar
  say "making python (mmdebstrap, about a minute)"
  second_layer "$dir" "$base" python3-minimal,python3
  docker_archive "$out" python:3 '{"Cmd":["python3"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","PYTHONDONTWRITEBYTECODE=1"]}' \
    "$base" "$dir/layer.tar"
fi
echo "$out"

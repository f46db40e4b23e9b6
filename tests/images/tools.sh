#!/bin/bash
# tools:latest, a compiler, make, git, xz, npm and fio over debian:bookworm: what works on many files at once.
# Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/second-layer.sh"

dir=$(cached tools "$0" "$here/second-layer.sh" "$here/debian.sh" "$here/lib.sh")
out=$dir/tools.tar
if [ ! -e "$out" ]; then
  need mmdebstrap=mmdebstrap
  base=$(dirname "$("$here/debian.sh")")/layer.tar
  say "making tools (mmdebstrap, three minutes)"
  second_layer "$dir" "$base" gcc,libc6-dev,make,git,xz-utils,fio,npm \
    --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/include/node/*'
  docker_archive "$out" tools:latest '{"Cmd":["bash"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' \
    "$base" "$dir/layer.tar"
fi
echo "$out"

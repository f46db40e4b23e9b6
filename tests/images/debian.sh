#!/bin/bash
# debian:bookworm, the smallest a Debian package manager runs in: one layer of about 170 MB.
# Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=$(cached debian "$0" "$here/lib.sh")
out=$dir/debian.tar
if [ ! -e "$out" ]; then
  need mmdebstrap=mmdebstrap
  say "making debian (mmdebstrap, about a minute)"
  mkdir -p "$dir"
  as_root env SOURCE_DATE_EPOCH=1704067200 mmdebstrap --quiet --variant=minbase bookworm "$dir/layer.part.tar" >&2
  mv "$dir/layer.part.tar" "$dir/layer.tar"
  docker_archive "$out" debian:bookworm '{"Cmd":["bash"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' "$dir/layer.tar"
fi
echo "$out"

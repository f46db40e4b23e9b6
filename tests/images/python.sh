#!/bin/bash
# python:3, Debian with the whole of python3 as a second layer. Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=$(cached python "$0" "$here/debian.sh" "$here/lib.sh")
out=$dir/python.tar
if [ ! -e "$out" ]; then
  need mmdebstrap=mmdebstrap
  base=$(dirname "$("$here/debian.sh")")/layer.tar
  say "making python (mmdebstrap, about a minute)"
  mkdir -p "$dir"
  as_root env SOURCE_DATE_EPOCH=1704067200 mmdebstrap --quiet --variant=minbase --include=python3-minimal,python3 \
    bookworm "$dir/all.tar" >&2

  # The second layer is what the larger tree has and the base has not, or has otherwise.
  listing() { tar --full-time --numeric-owner -tvf "$1" | LC_ALL=C sort; }
  listing "$base" >"$dir/base.list"
  listing "$dir/all.tar" >"$dir/all.list"
  as_root rm -rf "$dir/root"; mkdir -p "$dir/root"
  as_root tar --xattrs --xattrs-include='*' -C "$dir/root" --numeric-owner -xpf "$dir/all.tar" --exclude='./dev/*'
  LC_ALL=C comm -13 "$dir/base.list" "$dir/all.list" | grep -v ' \./dev/' |
    sed -E 's/^([^ ]+ +){5}//; s/ (->|link to) .*//; s,/$,,' >"$dir/names"
  as_root tar -C "$dir/root" --no-recursion --sort=name --numeric-owner --xattrs --xattrs-include='*' \
    -T "$dir/names" -cf "$dir/layer.tar"
  docker_archive "$out" python:3 '{"Cmd":["python3"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","PYTHONDONTWRITEBYTECODE=1"]}' \
    "$base" "$dir/layer.tar"
  as_root rm -rf "$dir/root" "$dir/all.tar"
fi
echo "$out"

#!/bin/bash
# ten:latest, the Debian with python of python:3 in ten layers: its folders and a ninth of Debian's files in
# the lowest, further ninths above, python on top. Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=$(cached ten "$0" "$here/python.sh" "$here/debian.sh" "$here/lib.sh")
out=$dir/ten.tar
if [ ! -e "$out" ]; then
  base=$(dirname "$("$here/debian.sh")")/layer.tar
  python=$(dirname "$("$here/python.sh")")/layer.tar
  say "making ten"
  mkdir -p "$dir/root"
  as_root tar --xattrs --xattrs-include='*' -C "$dir/root" --numeric-owner -xpf "$base" --exclude='./dev/*'
  as_root find "$dir/root" -mindepth 1 -type d -printf './%P\n' | LC_ALL=C sort >"$dir/folders"
  as_root find "$dir/root" -mindepth 1 ! -type d -printf './%P\n' | LC_ALL=C sort >"$dir/files"
  split -n l/9 -d -a 1 "$dir/files" "$dir/part."
  cat "$dir/folders" "$dir/part.0" >"$dir/first" && mv "$dir/first" "$dir/part.0"
  layers=()
  for part in "$dir"/part.?; do
    as_root tar -C "$dir/root" --no-recursion --numeric-owner --xattrs --xattrs-include='*' -T "$part" -cf "$part.tar"
    layers+=("$part.tar")
  done
  docker_archive "$out" ten:latest '{"Cmd":["python3"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' \
    "${layers[@]}" "$python"
  as_root rm -rf "$dir/root" "$dir"/part.* "$dir/folders" "$dir/files"
fi
echo "$out"

# Sourced by the scripts of images that are a Debian and packages in a second layer.

# second_layer DIR BASE PACKAGES [MMDEBSTRAP OPTION...]: writes DIR/layer.tar with what a Debian with PACKAGES (comma between
# them) has and the one of BASE (a tar) has not, or has otherwise. Nothing is taken away, which packages do not ask for.
second_layer() {
  local dir=$1 base=$2 packages=$3
  shift 3
  mkdir -p "$dir"
  as_root env SOURCE_DATE_EPOCH=1704067200 mmdebstrap --quiet --variant=minbase --include="$packages" "$@" \
    bookworm "$dir/all.tar" >&2

  tree_listing "$base" >"$dir/base.list"
  tree_listing "$dir/all.tar" >"$dir/all.list"
  as_root rm -rf "$dir/root"; mkdir -p "$dir/root"
  as_root tar --xattrs --xattrs-include='*' -C "$dir/root" --numeric-owner -xpf "$dir/all.tar" --exclude='./dev/*'
  LC_ALL=C comm -13 "$dir/base.list" "$dir/all.list" | grep -v ' \./dev/' |
    sed -E 's/^([^ ]+ +){5}//; s/ (->|link to) .*//; s,/$,,' >"$dir/names"
  as_root tar -C "$dir/root" --no-recursion --sort=name --numeric-owner --xattrs --xattrs-include='*' \
    -T "$dir/names" -cf "$dir/layer.tar"
  as_root rm -rf "$dir/root" "$dir/all.tar"
}

tree_listing() { tar --full-time --numeric-owner -tvf "$1" | LC_ALL=C sort; }

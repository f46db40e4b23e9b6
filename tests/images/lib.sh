# Shared by the image scripts beside it; sourced, not run. Each script makes one image archive:
#
#   tests/images/NAME.sh      makes the image if it is not there yet, and prints the archive's path
#
# Archives lie in the user's cache folder, under a hash of the script that made them, so that a
# changed script makes a new image and an unchanged one costs nothing.
set -eu

images_cache=${XDG_CACHE_HOME:-$HOME/.cache}/hull/test-images

say() { echo "images: $*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else say "needs root or sudo: $*"; return 1; fi
}

apt_update_once() {
  [ -z "${apt_updated:-}" ] || return 0
  say "apt-get update"
  as_root apt-get update -qq -o DPkg::Lock::Timeout=300 >&2
  apt_updated=1
}

# need COMMAND=PACKAGE...: installs the packages whose command is missing.
need() {
  local pair missing=
  for pair in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%=*}" >/dev/null || missing="$missing ${pair#*=}"
  done
  [ -n "$missing" ] || return 0
  say "apt-get install$missing"
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 $missing >/dev/null 2>&1 || {
    apt_update_once
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      -o DPkg::Lock::Timeout=300 $missing >&2
  }
}

# cached NAME FILE...: prints the folder for the image NAME that these files make; they are hashed.
cached() {
  local name=$1; shift
  echo "$images_cache/$(cat "$@" | sha256sum | cut -c1-16)-$name"
}

sha() { sha256sum "$1" | cut -d' ' -f1; }

# docker_archive OUT REF CONFIG_JSON LAYER.tar...: a docker-archive, as `docker save` writes it.
# CONFIG_JSON is the image's `config` object (Env, Cmd, ...).
docker_archive() {
  local out=$1 ref=$2 config=$3 dir ids= layers= layer digest id
  shift 3
  dir=$(mktemp -d "$(dirname "$out")/archive.XXXXXX")
  for layer in "$@"; do
    digest=$(sha "$layer")
    mkdir -p "$dir/$digest"
    ln -f "$layer" "$dir/$digest/layer.tar" 2>/dev/null || cp "$layer" "$dir/$digest/layer.tar"
    ids="$ids${ids:+,}\"sha256:$digest\""
    layers="$layers${layers:+,}\"$digest/layer.tar\""
  done
  printf '{"architecture":"amd64","os":"linux","created":"2024-01-01T00:00:00Z","config":%s,"rootfs":{"type":"layers","diff_ids":[%s]}}' \
    "$config" "$ids" >"$dir/config.json"
  id=$(sha "$dir/config.json")
  mv "$dir/config.json" "$dir/$id.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}]' "$id" "$ref" "$layers" >"$dir/manifest.json"
  (cd "$dir" && tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf "$out.part" ./*)
  mv "$out.part" "$out"
  rm -rf "$dir"
}

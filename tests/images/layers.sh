#!/bin/bash
# layers:latest, an OCI layout of seven layers that use everything a layer can do: whiteouts, an
# opaque folder, hard links within a layer and into a lower one, setuid, xattrs, devices, a fifo,
# names too long for a ustar header, sparse files, folders a layer leaves out, three tar formats.
# Beside it `unpacked/rootfs`, umoci's idea of the same image. Prints the layout's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=$(cached layers "$0" "$here/busybox.sh" "$here/lib.sh")
out=$dir/layout
if [ ! -e "$dir/done" ]; then
  need umoci=umoci setfattr=attr setcap=libcap2-bin mknod=coreutils
  base=$(dirname "$("$here/busybox.sh")")/layer.tar
  say "making layers (umoci, seven layers)"
  as_root rm -rf "$dir"; mkdir -p "$dir/tmp"
  umoci init --layout "$out"
  umoci new --image "$out:layers"
  # Device nodes, owners and capabilities of files are the kernel's to give: all of this is root's.
  as_root bash -eu -c '
    PATH=$PATH:/usr/sbin:/sbin
    base=$1 out=$2 tmp=$3
    layer() {  # layer FORMAT: packs ./ of the folder `new`
      local xattrs=; [ "$1" != pax ] || xattrs="--xattrs --xattrs-include=*"
      tar -C "$tmp/new" --sort=name --numeric-owner $xattrs --format="$1" -cf "$tmp/layer.tar" .
    }
    add() { umoci raw add-layer --image "$out:layers" "$tmp/layer.tar"; rm -rf "$tmp/new"; mkdir "$tmp/new"; }
    mkdir -p "$tmp/new"
    stamp() { find "$tmp/new" -mindepth 1 -exec touch -h -d "$1" {} +; }

    # 1: busybox, as it is
    cp "$base" "$tmp/layer.tar"; add

    # 2: plain files of all kinds, owners and modes; ustar
    cd "$tmp/new"; mkdir -p data/deep/er gone opaque/inner keep
    echo one >data/one; echo two >data/two; echo lower >data/lower; echo changed >data/changed
    head -c 100000 /dev/zero | tr "\0" x >data/big; : >data/empty
    echo gone >gone/file; echo inner >opaque/inner/file; echo outer >opaque/file; echo k >keep/file
    ln -s one data/relative; ln -s /data/one data/absolute; ln -s ../../../../../../../data/two data/climbing; ln -s nowhere data/dangling
    ln data/one data/hard; mkfifo data/fifo; mknod data/null c 1 3; mknod data/block b 7 200
    cp /bin/true data/setuid 2>/dev/null; chmod 6755 data/setuid; chmod 1777 keep; chmod 000 data/empty
    chown 1234:5678 data/two; chown -h 33:33 data/relative; chmod 750 data/deep/er
    stamp "2001-02-03 04:05:06 UTC"; layer ustar; add

    # 3: whiteouts of a file, of a folder, and of a file that is made again in the same layer; gnu
    cd "$tmp/new"; mkdir -p data; : >.wh.gone; : >data/.wh.two; : >data/.wh.never-was
    name=$(printf "long-%.0s" $(seq 40)); mkdir -p "data/$name"; echo long >"data/$name/$name"
    ln -s "/data/$name/$name" data/long-link
    stamp "2002-02-03 04:05:06 UTC"; layer gnu; add

    # 4: an opaque folder with a file of its own; a folder in place of a file, a file in place of a folder; pax
    cd "$tmp/new"; mkdir -p opaque data/lower keep; : >opaque/.wh..wh..opq; echo new >opaque/new
    echo inside >data/lower/inside; : >data/nanoseconds
    setfattr -n user.color -v blue keep; echo x >data/capable; setcap cap_net_raw+ep data/capable
    setfattr -n user.binary -v 0x00ff10 data/capable
    echo accent >"data/$(printf "\303\251")"; echo latin1 >"data/$(printf "\351")"
    stamp "2003-02-03 04:05:06 UTC"; touch -d "2003-02-03 04:05:06.123456789 UTC" data/nanoseconds
    layer pax; add

    # 5: a hard link into a lower layer: the target is taken out of the archive again
    cd "$tmp/new"; mkdir -p data; echo one >data/one; ln data/one data/hard-from-above
    tar -C "$tmp/new" --format=ustar -cf "$tmp/layer.tar" --no-recursion ./data/one ./data/hard-from-above
    tar --delete -f "$tmp/layer.tar" ./data/one; add

    # 6: no parent folders at all, a sparse file, a file with a hole at its end; pax
    cd "$tmp/new"; mkdir -p keep/fresh/path; echo orphan >keep/fresh/path/orphan
    truncate -s 3M keep/sparse; printf middle | dd of=keep/sparse bs=1 seek=1048576 conv=notrunc status=none
    truncate -s 64K keep/hole
    stamp "2006-02-03 04:05:06 UTC"
    tar -C "$tmp/new" --numeric-owner --format=pax -S --no-recursion -cf "$tmp/layer.tar" \
      ./keep/fresh/path/orphan ./keep/sparse ./keep/hole; add

    # 7: what was deleted comes back, what was replaced is replaced again
    cd "$tmp/new"; mkdir -p data gone; echo again >data/two; echo changed twice >data/changed; echo back >gone/back
    stamp "2007-02-03 04:05:06 UTC"; layer pax; add
    cd /

    umoci config --image "$out:layers" --config.cmd sh --config.workingdir /data --config.env WHERE=layers \
      --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    umoci unpack --image "$out:layers" "$tmp/../unpacked"
    umoci gc --layout "$out"
    chmod -R a+rX "$out"
  ' _ "$base" "$out" "$dir/tmp" >&2
  as_root rm -rf "$dir/tmp"
  touch "$dir/done" 2>/dev/null || as_root touch "$dir/done"
fi
echo "$out"

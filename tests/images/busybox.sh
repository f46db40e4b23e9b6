#!/bin/bash
# busybox:latest from Debian's busybox-static: one layer, no registry; needs tar and sha256sum only.
# Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

dir=$(cached busybox "$0" "$here/lib.sh")
out=$dir/busybox.tar
if [ ! -e "$out" ]; then
  say "making busybox (Debian's busybox-static)"
  rm -rf "$dir"; mkdir -p "$dir/deb"
  # The package is only unpacked: installing it would displace a dynamic busybox.
  (cd "$dir/deb" && { apt-get download -qq busybox-static 2>/dev/null || { apt_update_once; apt-get download -qq busybox-static; }; }) >&2
  dpkg -x "$dir"/deb/busybox-static_*.deb "$dir/deb"

  root=$dir/root
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sys,tmp,usr/bin,usr/sbin,sbin,var/spool/mail,var/tmp,var/www}
  cp "$(find "$dir/deb" -path '*bin/busybox' -type f)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln "$root/bin/busybox" "$root/bin/$applet"
  done
  ln -s ../../bin/env "$root/usr/bin/env"
  cat >"$root/etc/passwd" <<'EOF'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
EOF
  cat >"$root/etc/group" <<'EOF'
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
disk:x:6:operator
mail:x:8:operator
www-data:x:33:
staff:x:50:operator
users:x:100:
nogroup:x:65534:
EOF
  printf 'root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
  chmod 755 "$root" "$root"/{bin,dev,etc,home,proc,run,sys,usr,usr/bin,usr/sbin,sbin,var,var/www}
  chmod 700 "$root/root"; chmod 1777 "$root/tmp" "$root/var/tmp"
  chmod 644 "$root"/etc/{passwd,group}; chmod 640 "$root/etc/shadow"

  (cd "$root" && tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1700000000 -cf "$dir/layer.tar" .)
  docker_archive "$out" busybox:latest '{"Cmd":["sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}' "$dir/layer.tar"
  rm -rf "$root" "$dir/deb"
fi
echo "$out"

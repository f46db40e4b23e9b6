#!/bin/bash
# services:latest, Debian's nginx, PostgreSQL and Redis with their clients, iperf3, qperf and busybox, over debian:bookworm;
# each starts with one command and asks nobody for a password:
#
#   nginx                        port 80, answers with the host's name; /app/ is passed to the host `app`, port 8000
#   su postgres -c postgres      port 5432, a database that has been made already; PGDATA names it
#   redis-server /etc/redis.conf port 6379
#   app                          port 8000, counts its visits in the hosts `cache` and `db`
#
# Prints the archive's path.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
. "$here/second-layer.sh"

# In the new tree, which is $1.
if [ "${1:-}" = --customize ]; then
  cat >"$2/etc/nginx/nginx.conf" <<'EOF'
daemon off;
error_log stderr;
worker_processes 1;
events {}
http {
  access_log off;
  resolver 127.0.0.11;
  server {
    listen 80;
    listen [::]:80;
    location / { return 200 "nginx on $hostname for $remote_addr\n"; }
    location /app/ { set $app http://app:8000; proxy_pass $app/cgi-bin/app; }
  }
}
EOF
  printf 'bind * -::*\nprotected-mode no\nsave ""\n' >"$2/etc/redis.conf"
  # Small files: they are copied up when they are first written.
  chroot "$2" su postgres -c 'initdb -A trust --no-locale -E UTF8 --wal-segsize=1 -D /var/lib/postgresql/data' >/dev/null
  cat >>"$2/var/lib/postgresql/data/postgresql.conf" <<'EOF'
listen_addresses = '*'
unix_socket_directories = '/tmp'
EOF
  echo 'host all all all trust' >>"$2/var/lib/postgresql/data/pg_hba.conf"
  mkdir -p "$2/srv/cgi-bin"
  cat >"$2/srv/cgi-bin/app" <<'EOF'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
psql -qAt -h db -U postgres -c 'create table if not exists visits (at timestamptz default now())' -c 'insert into visits default values'
echo "cache $(redis-cli -h cache incr visits), database $(psql -qAt -h db -U postgres -c 'select count(*) from visits')"
EOF
  printf '#!/bin/sh\nexec busybox httpd -f -p 8000 -h /srv\n' >"$2/usr/local/bin/app"
  chmod 755 "$2/srv/cgi-bin/app" "$2/usr/local/bin/app"
  exit 0
fi

dir=$(cached services "$0" "$here/second-layer.sh" "$here/debian.sh" "$here/lib.sh")
out=$dir/services.tar
if [ ! -e "$out" ]; then
  need mmdebstrap=mmdebstrap
  base=$(dirname "$("$here/debian.sh")")/layer.tar
  say "making services (mmdebstrap, two minutes)"
  path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/15/bin
  # LLVM is for PostgreSQL's JIT, and larger than all the rest.
  second_layer "$dir" "$base" nginx-light,postgresql-15,postgresql-client-15,redis-server,redis-tools,iperf3,qperf,busybox-static \
    --essential-hook='mkdir -p "$1/etc/postgresql-common"; echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --customize-hook="PATH=$path '$here/services.sh' --customize \"\$1\""
  docker_archive "$out" services:latest "{\"Cmd\":[\"bash\"],\"Env\":[\"PATH=$path\",\"PGDATA=/var/lib/postgresql/data\"],\"ExposedPorts\":{\"80/tcp\":{},\"6379/tcp\":{}}}" \
    "$base" "$dir/layer.tar"
fi
echo "$out"

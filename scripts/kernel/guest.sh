#!/bin/bash
# guest.sh JOB: pid 1 on the guest's root. Makes it a machine, runs the command that lies in the folder JOB (`argv`,
# `cwd`: words end with NUL), says its exit status and turns the guest off. Never run it on a machine of your own.
[ $$ -eq 1 ] || { echo "guest.sh is the first process of a guest" >&2; exit 1; }
job=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs -o mode=0755 run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd/0 /dev/stdin
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd/2 /dev/stderr
ln -s /proc/self/fd /dev/fd
for port in 1 2 3; do stty -F "/dev/ttyS$port" raw -echo; done
exec >/dev/ttyS1 2>&1 </dev/null

hostname sonemu-kernel
ip link set lo up
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$(cat "$job/modules")" "/lib/modules/$(uname -r)"
# Seen on the machine afterwards, this file would say that its root can be written after all.
touch "$job/written-by-the-guest"
if [ -e "$job/docker" ]; then
    # Its data lie in memory: neither 9p nor an overlay on it can be the ground of another overlay. dockerd gives a
    # containerd that it starts itself 15 s, which on a busy machine are too few for one on an emulated CPU.
    mkdir /run/docker-data /run/containerd
    (
        containerd --root /run/containerd-data --state /run/containerd &
        until [ -S /run/containerd/containerd.sock ]; do sleep 0.2; done
        exec dockerd --data-root /run/docker-data --containerd /run/containerd/containerd.sock
    ) >/run/dockerd.log 2>&1 &
fi

mapfile -d '' -t argv <"$job/argv"
mapfile -d '' -t cwd <"$job/cwd"
cd "${cwd[0]}" || exit 1
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
"${argv[@]}" 2>&1 | cat # a pipe, as in CI: at a terminal pytest draws over its lines
echo "ended with ${PIPESTATUS[0]}" >/dev/ttyS2
echo o >/proc/sysrq-trigger
sleep 60

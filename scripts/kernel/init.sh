#!/bin/busybox sh
# The first process of the guest, in its memory alone: lays what can be written over the machine's files, which
# cannot (QEMU gives them out read-only), and goes on there with guest.sh.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module"; done </modules/order
# Kept in the guest's memory once read (loose): without that, starting Python takes 47 s instead of 15.
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000 machine /machine
mount -t tmpfs -o mode=0755 changes /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/machine,upperdir=/changes/upper,workdir=/changes/work root /root
script=$(cat /script) job=$(cat /job)
umount /proc /sys /dev
exec switch_root /root /bin/bash "$script" "$job"

#!/bin/busybox sh
# PID 1 of the guest: what the kernel ring needs, the ring, and how it ended, on the serial console.
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
$busybox mount -t bpf bpf /sys/fs/bpf
$busybox ip link set lo up
# Before 5.11 maps counted against it, and a kernel that old shall tell what it has against the program.
ulimit -l unlimited
echo "weir-guest: kernel $($busybox uname -r)"
. /tests.sh
echo "weir-guest: exit $?"
$busybox poweroff -f

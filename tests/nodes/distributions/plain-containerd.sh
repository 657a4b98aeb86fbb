#!/bin/sh
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Starts, beside the distribution's containerd, the plain one that the node had before it.
set -eu
cp -a /usr/lib/plain-containerd/bin/. /usr/local/bin/
cp -a /usr/lib/plain-containerd/etc /etc/containerd
sed 's@/usr/bin/containerd@/usr/local/bin/containerd@' /usr/lib/plain-containerd/containerd.service \
    > /etc/systemd/system/containerd.service
systemctl daemon-reload
systemctl enable --now containerd.service

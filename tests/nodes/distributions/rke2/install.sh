#!/bin/sh
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# RKE2: its programs are those of an image, and the link "bin" leads to them.
set -eu
unpacked=/var/lib/rancher/rke2/data/$(echo "$RELEASE" | tr + -)-$(sha256sum < distribution | cut -c 1-12)
install -d "$unpacked/bin"
cp /usr/lib/plain-containerd/bin/* "$unpacked/bin"
ln -s "$unpacked/bin" /var/lib/rancher/rke2/bin
install distribution /usr/local/bin/rke2
echo "RELEASE=$RELEASE" > /etc/default/rke2-imitation
install -D -m 0644 -t /usr/local/lib/systemd/system rke2-server.service
systemctl enable rke2-server.service

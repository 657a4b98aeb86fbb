#!/bin/sh
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# k3s: one program, which the link beside it calls containerd.
set -eu
current=/var/lib/rancher/k3s/data/$(sha256sum < distribution | cut -d ' ' -f 1)
install -d "$current/bin"
cp /usr/lib/plain-containerd/bin/* "$current/bin"
mv "$current/bin/containerd" "$current/bin/k3s"
ln -s k3s "$current/bin/containerd"
ln -s "$current" /var/lib/rancher/k3s/data/current
install distribution /usr/local/bin/k3s
echo "RELEASE=$RELEASE" > /etc/default/k3s-imitation
install -m 0644 k3s.service /etc/systemd/system/
systemctl enable k3s.service

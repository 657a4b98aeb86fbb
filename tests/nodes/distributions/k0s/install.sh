#!/bin/sh
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# k0s: its programs are in the data directory, but no ctr, which k0s has in itself.
set -eu
install -d /var/lib/k0s/bin
cp /usr/lib/plain-containerd/bin/* /var/lib/k0s/bin
install -D -t /usr/lib/k0s-imitation /var/lib/k0s/bin/ctr
rm /var/lib/k0s/bin/ctr
install distribution /usr/local/bin/k0s
echo "RELEASE=$RELEASE" > /etc/default/k0s-imitation
install -m 0644 k0sworker.service /etc/systemd/system/
systemctl enable k0sworker.service

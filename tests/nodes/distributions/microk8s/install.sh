#!/bin/sh
# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# microk8s: the directories of one revision of the snap, and a "snap" that knows no other snap.
set -eu
revision=8511
snap=/snap/microk8s/$revision data=/var/snap/microk8s/$revision
install -d \
    "$snap/bin" "$snap/meta" "$data/args" /snap/bin /var/snap/microk8s/common/var/lib/kubelet /var/lib/snapd
cp /usr/lib/plain-containerd/bin/* "$snap/bin"
install run-containerd-with-args "$snap"
printf 'name: microk8s\nversion: %s\nconfinement: classic\n' "$RELEASE" > "$snap/meta/snap.yaml"
cp -r args/. "$data/args"
install -d "$data/args/certs.d/localhost:32000"
printf 'server = "http://localhost:32000"\n' > "$data/args/certs.d/localhost:32000/hosts.toml"
ln -s "$revision" /snap/microk8s/current
ln -s "$revision" /var/snap/microk8s/current
install snap /usr/bin/snap
install microk8s /snap/bin/microk8s
sed "s/@REVISION@/$revision/" snap.microk8s.daemon-containerd.service > /etc/systemd/system/snap.microk8s.daemon-containerd.service
systemctl enable snap.microk8s.daemon-containerd.service

# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A node on which a distribution brings its own containerd, and none is in PATH. What the node had before is kept aside: from
# there the distribution takes its programs, and "plain-containerd" starts it again.
ARG BASE
FROM ${BASE}
RUN mkdir -p /usr/lib/plain-containerd/bin && cd /usr/lib/plain-containerd \
 && cp -a /usr/bin/containerd /usr/bin/containerd-shim-runc-v2 /usr/bin/ctr /usr/sbin/runc bin/ \
 && cp -a /usr/lib/systemd/system/containerd.service . && cp -a /etc/containerd etc \
 && systemctl disable --quiet containerd.service && dpkg --purge --force-depends containerd runc \
 && rm -rf /etc/containerd
COPY plain-containerd.sh /usr/local/sbin/plain-containerd
ARG FAMILY
COPY distribution ${FAMILY} /usr/local/src/
ARG RELEASE
RUN cd /usr/local/src && ./install.sh && rm -r /usr/local/src/*

# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Another containerd in the place of Debian's.
ARG BASE
FROM ${BASE}
COPY containerd containerd-shim-runc-v2 ctr /usr/bin/

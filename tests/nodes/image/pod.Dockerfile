# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The smallest image a pod can do something in.
ARG BASE
FROM ${BASE} AS tools
RUN mkdir -p /pod/bin /pod/etc && cp "$(command -v busybox)" /pod/bin/busybox && /pod/bin/busybox --install -s /pod/bin \
 && for link in /pod/bin/*; do test ! -L "$link" || ln -sf busybox "$link"; done

FROM scratch
COPY --from=tools /pod /
CMD ["/bin/sleep", "86400"]

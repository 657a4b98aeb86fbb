# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A Go compiler for machines that have none.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends golang-go

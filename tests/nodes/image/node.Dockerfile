# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# A Kubernetes node before Kubernetes: systemd, sshd, containerd with an administrator's configuration.
ARG BASE
FROM ${BASE}

# Boot fast and stay quiet: nothing that wants a network of its own, a console or the clock.
RUN systemctl set-default multi-user.target \
 && systemctl enable containerd.service ssh.service \
 && systemctl mask --quiet apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
        e2scrub_all.timer fstrim.timer systemd-tmpfiles-clean.timer \
        console-getty.service getty.target systemd-logind.service

RUN useradd --create-home --shell /bin/bash admin \
 && echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin && chmod 0440 /etc/sudoers.d/admin \
 && install -d -m 0700 /root/.ssh && install -d -m 0700 -o admin -g admin /home/admin/.ssh

# The wrapper gets its shebang here: in the repository it is a module like any other.
COPY image/runc_without_cgroups.py /usr/local/src/
RUN sed '1i #!/usr/bin/python3' /usr/local/src/runc_without_cgroups.py > /usr/local/sbin/runc-without-cgroups \
 && chmod 0755 /usr/local/sbin/runc-without-cgroups && rm /usr/local/src/runc_without_cgroups.py

ARG SUITE
COPY config/${SUITE}.toml /etc/containerd/config.toml
ARG CONFIG_MODE
RUN chmod ${CONFIG_MODE} /etc/containerd/config.toml

CMD ["/sbin/init"]

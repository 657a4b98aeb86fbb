# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of a node, of a manifest and of variables: however much a user asks to be told, none of them is shown."""

from __future__ import annotations

import base64
import copy
import json
import typing as t
from urllib.parse import quote

import pytest

from ansible_collections.confidential_containers.runtime.tests.integration.harness import Node, Run
from ansible_collections.confidential_containers.runtime.tests.integration.test_installer import DEPLOY, manifest

#: Where secrets are, each with a value of its own that looks another way in JSON, in a URL and in base64.
SECRETS = {
    place: f"m4rked/{place}+value=%~"
    for place in ("config", "comment", "broken", "hosts", "environment", "token", "line-one", "line-two", "registry")
}
CONFIG_FILE = "/etc/containerd/config.toml"
#: A drop-in of containerd's unit, what containerd's configuration has more, and a registry's hosts.toml.
PROXY = f"http://user:{quote(SECRETS['environment'], safe='')}@127.0.0.1:9"
UNIT = f"""[Service]
Environment="HTTPS_PROXY={PROXY.replace("%", "%%")}" "NO_PROXY=*"
ExecStartPre=/bin/sh -c "! test -e /run/broken || ! grep kata-qemu {CONFIG_FILE}"
"""
CONFIG = f"""
# password = "{SECRETS["comment"]}"
[plugins."io.containerd.grpc.v1.cri".registry.configs."images.example.com".auth]
  password = "{SECRETS["config"]}"
"""
HOSTS = f'[host."https://mirror.example.com".header]\n  Authorization = "Basic {SECRETS["hosts"]}"\n'
KEY = f"-----BEGIN KEY-----\n{SECRETS['line-one']}\n{SECRETS['line-two']}\n-----END KEY-----"


def shown(output: str) -> list[str]:
    """Return which secrets stand in an output: plain, in JSON, in a URL or in base64, wherever that begins."""
    found = []
    for place, secret in SECRETS.items():
        forms = {secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe="")}
        for shift in range(3):
            # The first and the last characters also stand for what is around.
            encoded = base64.b64encode(b"-" * shift + secret.encode()).decode().rstrip("=")
            forms.add(encoded[-(-shift * 8 // 6) : -1])
        found += [f"{place}: {form}" for form in forms if form in output]
    return found


@pytest.fixture
def guarded(node: Node) -> Node:
    """A node with secrets in all that its engine reads."""
    hosts = "/etc/containerd/certs.d/mirror.example.com"
    unit = "/etc/systemd/system/containerd.service.d/secret.conf"
    restart = "systemctl daemon-reload && systemctl restart containerd.service"
    node.sh(f"mkdir -p {hosts} {unit.rpartition('/')[0]}")
    for path, text in ((CONFIG_FILE, CONFIG), (f"{hosts}/hosts.toml", HOSTS), (unit, UNIT)):
        node.sh(f"cat >> {path} <<'END'\n{text}\nEND")
    node.sh(restart)
    return node


def test_the_most_verbose_output_shows_no_secret(guarded: Node, archive: str) -> None:
    """What -vvvv prints of each playbook, natively and with the payload's own installer, of failures and of plans."""
    inventory = copy.deepcopy(guarded.inventory)
    values = {"ACCESS_TOKEN": SECRETS["token"], "TLS_KEY": KEY, "MODE": "node", "SHIM": "qemu"}
    # What a native installation takes from it.
    values["INSTALLATION_PREFIX"] = "/opt/coco"
    environment = [{"name": name, "value": value} for name, value in values.items()]
    # Not as extra variables: those are shown as they were given.
    inventory["coco_nodes"]["vars"].update(
        coco_registry_auth={"username": "user", "password": SECRETS["registry"]},
        coco_ccruntime=manifest(archive, environmentVariables=environment),
    )

    def play(playbook: str, *words: str, fails: bool = False, **variables: t.Any) -> Run:
        run = guarded.play(playbook, "-vvvv", *words, inventory=inventory, **variables)
        assert (run.status != 0) == fails, run.output
        assert not shown(run.output)
        return run

    guarded.sh("touch /run/broken")
    assert "rolled back" in play("install", "--diff", fails=True, coco_engine_timeout=10).output
    guarded.sh("rm /run/broken")
    run = play("install", "--diff")
    for said in (
        "below /opt/coco/opt/kata",
        "ACCESS_TOKEN is not used with coco_installer=native: set coco_installer to",
    ):
        assert said in run.output
    play("status")
    guarded.sh(f"cp -a {CONFIG_FILE} /root/good.toml && echo 'password = \"{SECRETS['broken']}' >> {CONFIG_FILE}")
    play("install", fails=True)
    guarded.sh(f"mv /root/good.toml {CONFIG_FILE}")
    play("uninstall", "--diff")

    arguments = ["$(ACCESS_TOKEN)", "with $(TLS_KEY)", "$(NONE) $$(MODE)", "$$(NONE) $$(MODE)"]
    exact = '[[ $0 == "$ACCESS_TOKEN" && $1 == "with $TLS_KEY" && $2 == "$3" && $MODE$SHIM == nodeqemu ]] || exit 4'
    says = "systemctl show --property=ExecStart confidential-containers-installer.service; env; "
    says += 'echo "$0 $1 $ACCESS_TOKEN $TLS_KEY"; echo "the mode is $MODE"'
    for end, fails in (("exit 3", True), (f"{DEPLOY} install", False)):
        command = ["bash", "-c", f"{exact}; {says}; {end}", *arguments]
        run = play("install", "--diff", fails=fails, coco_installer="payload", coco_install_cmd=command)
        assert ("exit status 3" in run.output) == fails, run.output
        for said in ("$(ACCESS_TOKEN)", "the mode is node"):
            assert said in run.output
    play("status")

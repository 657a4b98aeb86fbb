# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What changes between two dumps of an engine's configuration, and what may."""

from __future__ import annotations

import pytest

from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import (
    Dump,
    sections,
)
from ansible_collections.confidential_containers.runtime.plugins.module_utils._engine.containerd.dump import (
    value as value_of,
)

# As containerd 1.7.24 prints it.
ONE = """\
disabled_plugins = []
imports = ["/etc/containerd/config.toml"]
oom_score = 0
version = 2

[grpc]
  address = "/run/containerd/containerd.sock"
  uid = 0

[plugins]

  [plugins."io.containerd.gc.v1.scheduler"]
    deletion_threshold = 0

  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.8"

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes]

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]
          pod_annotations = ["io.katacontainers.*"]
          runtime_type = "io.containerd.kata-qemu.v2"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu.options]
            ConfigPath = "/opt/x/configuration-qemu.toml"

        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
          runtime_type = "io.containerd.runc.v2"

          [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
            SystemdCgroup = false

    [plugins."io.containerd.grpc.v1.cri".registry]

      [plugins."io.containerd.grpc.v1.cri".registry.configs]

        [plugins."io.containerd.grpc.v1.cri".registry.configs."r.example.com:5000".auth]
          password = "hunter2"

[timeouts]
  "io.containerd.timeout.task.state" = "2s"
"""

# As containerd 2.1.9 prints it.
TWO = """\
version = 3
root = '/var/lib/containerd'
disabled_plugins = []
imports = ['/etc/containerd/config.toml']

[grpc]
  address = '/run/containerd/containerd.sock'

[plugins]
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'

    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = ''

      [plugins.'io.containerd.cri.v1.images'.registry.headers]
        Authorization = ['Bearer hunter2']

    [plugins.'io.containerd.cri.v1.images'.runtime_platforms]
      [plugins.'io.containerd.cri.v1.images'.runtime_platforms.kata-qemu]
        platform = ''
        snapshotter = 'nydus'

  [plugins.'io.containerd.cri.v1.runtime']
    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'

      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes]
        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata-qemu]
          runtime_type = 'io.containerd.kata-qemu.v2'

        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.'my.own']
          runtime_type = 'io.containerd.runc.v2'

        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
          runtime_type = 'io.containerd.runc.v2'

          [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
            SystemdCgroup = false

  [plugins.'io.containerd.transfer.v1.local']
    [[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
      platform = 'linux/amd64'
      snapshotter = 'overlayfs'

    [[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
      platform = 'linux/s390x'
      snapshotter = 'overlayfs'
"""

CRI1 = ("plugins", "io.containerd.grpc.v1.cri")
RUNTIMES1 = (*CRI1, "containerd", "runtimes")
RUNTIMES2 = ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes")


@pytest.mark.parametrize(
    ("dump", "header", "lines"),
    [
        pytest.param(ONE, (*RUNTIMES1, "runc"), ['runtime_type = "io.containerd.runc.v2"'], id="double quotes"),
        pytest.param(TWO, (*RUNTIMES2, "my.own"), ["runtime_type = 'io.containerd.runc.v2'"], id="single quotes"),
        pytest.param(ONE, RUNTIMES1, [], id="a table of tables"),
        pytest.param(
            ONE, (*CRI1, "registry", "configs", "r.example.com:5000", "auth"), ['password = "hunter2"'], id="dots"
        ),
        pytest.param(ONE, ("timeouts",), ['"io.containerd.timeout.task.state" = "2s"'], id="quoted key"),
        pytest.param(TWO, ("grpc",), ["address = '/run/containerd/containerd.sock'"], id="first level"),
    ],
)
def test_sections(dump: str, header: tuple[str, ...], lines: list[str]) -> None:
    assert sections(dump)[header] == lines


def test_the_top_level_is_a_section_of_its_own() -> None:
    assert sections(ONE)[()] == [
        "disabled_plugins = []",
        'imports = ["/etc/containerd/config.toml"]',
        "oom_score = 0",
        "version = 2",
    ]
    assert sections("") == {(): []}


@pytest.mark.parametrize(
    ("dump", "names"),
    [
        pytest.param(ONE, ["kata-qemu", "runc"], id="1.x"),
        pytest.param(TWO, ["kata-qemu", "my.own", "runc"], id="2.x"),
        pytest.param("version = 2\n", [], id="none"),
        pytest.param("[plugins.'of.another'.runtimes.x]\n  a = 1\n", [], id="another plugin's runtimes"),
    ],
)
def test_handlers(dump: str, names: list[str]) -> None:
    assert sorted(Dump(dump).handlers()) == names


def test_a_handler_has_the_lines_of_its_table_without_its_options() -> None:
    assert Dump(ONE).handlers()["kata-qemu"] == [
        'pod_annotations = ["io.katacontainers.*"]',
        'runtime_type = "io.containerd.kata-qemu.v2"',
    ]


# Edits of a dump that are ours to make: old text, new text.
ALLOWED = [
    pytest.param(ONE, "", "", id="1.x nothing"),
    pytest.param(ONE, "io.containerd.kata-qemu.v2", "io.containerd.other.v2", id="1.x our type"),
    pytest.param(ONE, 'ConfigPath = "/opt/x', 'ConfigPath = "/opt/y', id="1.x our options"),
    pytest.param(ONE, "runtimes.kata-qemu", "runtimes.kata-clh", id="1.x one of ours for another"),
    pytest.param(ONE, 'imports = ["/etc/containerd/config.toml"]', 'imports = ["/etc/x"]', id="1.x the imports"),
    pytest.param(TWO, "snapshotter = 'nydus'", "snapshotter = 'erofs'", id="2.x our platform"),
    pytest.param(TWO, "io.containerd.kata-qemu.v2", "io.containerd.other.v2", id="2.x our type"),
    pytest.param(TWO, "imports = ['/etc/containerd/config.toml']", "imports = []", id="2.x the imports"),
]

# Edits that are not: old text, new text, what is said about it.
FOUND = [
    pytest.param(ONE, "oom_score = 0", "oom_score = 1", ["top level: oom_score"], id="1.x top level"),
    pytest.param(ONE, "version = 2", "version = 3", ["top level: version"], id="1.x version"),
    pytest.param(ONE, "disabled_plugins = []", "", ["top level: disabled_plugins"], id="1.x a line lost"),
    pytest.param(ONE, "  uid = 0", "  uid = 0\n  gid = 7", ["grpc: gid"], id="1.x a line more"),
    pytest.param(
        ONE, "SystemdCgroup = false", "SystemdCgroup = true", [".".join((*RUNTIMES1, "runc", "options: SystemdCgroup"))],
        id="1.x runc's options",
    ),
    pytest.param(
        ONE, "io.containerd.runc.v2", "io.containerd.runc.v1", [".".join((*RUNTIMES1, "runc: runtime_type"))],
        id="1.x runc's type",
    ),
    pytest.param(
        ONE, 'default_runtime_name = "runc"', 'default_runtime_name = "kata-qemu"',
        [".".join((*CRI1, "containerd: default_runtime_name"))], id="1.x the default runtime",
    ),
    pytest.param(
        ONE, 'password = "hunter2"', 'password = "swordfish"',
        [".".join((*CRI1, "registry", "configs", "r.example.com:5000", "auth: password"))], id="1.x a password",
    ),
    pytest.param(
        TWO, "['Bearer hunter2']", "['Bearer swordfish']",
        ["plugins.io.containerd.cri.v1.images.registry.headers: Authorization"], id="2.x a password",
    ),
    pytest.param(
        TWO, "runtimes.'my.own'", "runtimes.'your.own'",
        [".".join((*RUNTIMES2, "my.own: runtime_type")), ".".join((*RUNTIMES2, "your.own: runtime_type"))],
        id="2.x another handler for a foreign one",
    ),
    pytest.param(
        TWO, "snapshotter = 'overlayfs'\n\n    [plugins.'io.containerd.cri.v1.images'.reg",
        "snapshotter = 'native'\n\n    [plugins.'io.containerd.cri.v1.images'.reg",
        ["plugins.io.containerd.cri.v1.images: snapshotter"], id="2.x the snapshotter",
    ),
    pytest.param(
        TWO, "platform = 'linux/s390x'", "platform = 'linux/arm64'",
        ["plugins.io.containerd.transfer.v1.local.unpack_config: platform"], id="2.x in an array of tables",
    ),
    pytest.param(
        TWO, "      platform = 'linux/s390x'\n      snapshotter = 'overlayfs'\n", "      platform = 'linux/s390x'\n",
        ["plugins.io.containerd.transfer.v1.local.unpack_config: snapshotter"],
        id="2.x a line lost that another entry of an array has, too",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("dump", "old", "new"), ALLOWED)
def test_what_is_ours_may_change(dump: str, old: str, new: str) -> None:
    assert old in dump
    assert Dump(dump).lost(Dump(dump.replace(old, new)), {"kata-qemu", "kata-clh"}) == []


@pytest.mark.parametrize(("dump", "old", "new", "said"), FOUND)
def test_every_other_change_is_found_and_no_value_is_shown(dump: str, old: str, new: str, said: list[str]) -> None:
    assert old in dump
    changed = dump.replace(old, new)
    for one, two in ((dump, changed), (changed, dump)):
        found = Dump(one).lost(Dump(two), {"kata-qemu"})
        assert sorted(found) == sorted(said)
        assert not any(secret in line for line in found for secret in ("hunter2", "swordfish"))


def test_ours_gone_or_new_is_no_difference_and_a_foreign_one_is() -> None:
    start = ONE.index('        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata-qemu]')
    end = ONE.index('        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]')
    without = ONE[:start] + ONE[end:]
    assert Dump(without).lost(Dump(ONE), {"kata-qemu"}) == []
    assert Dump(ONE).lost(Dump(without), {"kata-qemu"}) == []
    table = ".".join((*RUNTIMES1, "kata-qemu"))
    assert Dump(without).lost(Dump(ONE), set()) == [
        f"{table}: pod_annotations",
        f"{table}: runtime_type",
        f"{table}.options: ConfigPath",
    ]


@pytest.mark.parametrize(
    ("warnings", "keys"),
    [
        pytest.param("", set(), id="silence"),
        pytest.param(
            'time="2026-11-23T19:00:00Z" level=warning msg="Ignoring unknown key in TOML" '
            'column=1 error="strict mode: fields in the document are missing in the target struct" '
            "file=/etc/containerd/config.toml key=no_such_thing row=4\n",
            {"no_such_thing"},
            id="one",
        ),
        pytest.param(
            'level=warning msg="Ignoring unknown key in TOML for plugin" key="a b" plugin=x\n'
            'level=warning msg="Ignoring unknown key in TOML for plugin" key=two row=1\n'
            "level=warning msg=other key=three\n",
            {'"a', "two"},
            id="several, and other warnings",
        ),
    ],
)
def test_unknown_keys(warnings: str, keys: set[str]) -> None:
    assert Dump("", warnings).complaints() == keys


def test_the_paths_of_handlers() -> None:
    dump = ONE.replace('v2"\n', 'v2"\n          runtime_path = "/opt/x/shim"\n', 1)
    assert Dump(dump).paths() == {"kata-qemu": ["/opt/x/shim", "/opt/x/configuration-qemu.toml"], "runc": []}


@pytest.mark.parametrize(
    ("line", "value"), [("a = 'x'", "x"), ('a = "x"', "x"), ("aa = 'x'", ""), ("a = 1", ""), ("a = ''", "")]
)
def test_a_value(line: str, value: str) -> None:
    assert value_of(["b = 'y'", line], "a") == value

# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configurations of containerd as they are found in the field, and stranger ones: where each applies, and what becomes of it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

#: Stands in configurations; must not appear in any message.
SECRET = "hunter2"

ONE = ("1.4", "1.6", "1.7")
TWO = ("2.1", "2.2", "2.3", "2.4")
ALL = (*ONE, *TWO)

CRI = 'plugins."io.containerd.grpc.v1.cri"'
CRI_3 = "plugins.'io.containerd.cri.v1.runtime'"
RUNC = 'runtime_type = "io.containerd.runc.v2"\n'
GLOB = "imports = ['/etc/containerd/conf.d/*.toml']\n"


@dataclass(frozen=True)
class Configuration:
    """What lies in /etc/containerd: ``config.toml`` with ``main``, or what ``command`` prints, or nothing (both None).

    ``refused`` is, by version, a text of the refusal that is expected; on the other versions of ``on``, the handlers are
    served, and everything is as before when they are gone.
    """

    name: str
    main: str | None = None
    on: t.Sequence[str] = ALL
    refused: t.Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    #: Other files, by their path below /etc/containerd; ``-> TARGET`` makes a link.
    files: t.Mapping[str, str] = field(default_factory=dict)
    #: chmod and chown of config.toml.
    mode: str = ""
    owner: str = ""


def _on(versions: t.Iterable[str], text: str) -> dict[str, str]:
    return dict.fromkeys(versions, text)


#: The admin's own, beside the default one: 1.6 and 1.7 do without that and fail.
DEFAULT = f"[{CRI}.containerd.runtimes.runc]\n{RUNC}"
HANDLER = f"[{CRI}.containerd.runtimes.mine]\n{RUNC}{DEFAULT}"
HANDLER_3 = HANDLER.replace(CRI, CRI_3)
PROXY = "[proxy_plugins.soci]\ntype = 'snapshot'\naddress = '/run/soci.sock'\n"
DOWN = "before anything is changed"  # the engine itself cannot live with it, and is not up
NOT_READ = "that containerd"

CONFIGURATIONS = (
    # Little or nothing.
    Configuration("missing"),
    Configuration("empty", ""),
    Configuration("only comments", "# nothing yet\n\n# really"),
    Configuration("only a version", "version = 2\n"),
    Configuration("only a version of schema 3", "version = 3", refused={**_on(ONE, "version = 3"), "1.7": NOT_READ}),
    Configuration(
        "schema 4",
        f"version = 4\n\n[{CRI_3}]\nenable_cdi = true\n",
        on=("1.7", *TWO),
        refused=_on(("1.7", "2.1", "2.2"), ""),
    ),
    # Files without version.
    Configuration(
        "no version",
        "root = '/var/lib/containerd'\n[plugins.cri]\ndisable_cgroup = true\n",
        refused=_on(("2.1", "2.2"), "config migrate"),
    ),
    Configuration("no version, no plugin", "oom_score = 0\n[debug]\nlevel = 'info'\n"),
    Configuration(
        "no version, a handler",
        f"[plugins.cri.containerd.runtimes.mine]\n{RUNC}[plugins.cri.containerd.runtimes.runc]\n{RUNC}",
        refused=_on(("2.1", "2.2"), "config migrate"),
    ),
    Configuration(
        "Docker's package",
        '#   Copyright\n\ndisabled_plugins = ["cri"]\n\n#root = "/var/lib/containerd"\n',
        refused=_on(ALL, "coco_enable_cri"),
    ),
    # As written by programs.
    Configuration("config default", command="containerd config default"),
    Configuration("config migrate", command="containerd config migrate", on=TWO),
    Configuration(
        "Debian's package",
        f'version = 2\n\n[plugins]\n  [{CRI}]\n    [{CRI}.cni]\n      bin_dir = "/usr/lib/cni"\n'
        '      conf_dir = "/etc/cni/net.d"\n  [plugins."io.containerd.internal.v1.opt"]\n    path = "/var/lib/containerd"\n',
    ),
    # Spellings.
    Configuration("no newline at the end", f"version = 2\n{HANDLER}".rstrip("\n")),
    Configuration("a comment without newline at the end", f"version = 2\n{HANDLER}# EOF"),
    Configuration("CRLF", f"# Windows\nversion = 2\n\n{HANDLER}".replace("\n", "\r\n")),
    Configuration("mixed line ends", f"version = 2\r\n\n[debug]\r\nlevel = 'info'\n{HANDLER}"),
    Configuration("a byte order mark", f"\ufeffversion = 2\n{HANDLER}", refused=_on(("1.4", *TWO), NOT_READ)),
    Configuration("a quoted version", f'"version" = 2\n{HANDLER}'),
    Configuration("a hexadecimal version", f"version = 0x2 # two\n{HANDLER}", refused=_on(("1.4",), NOT_READ)),
    Configuration(
        "versions that are none",
        f"# version = 3\nversion = 2\n[{CRI}.registry.configs.'x'.auth]\nusername = '''\nversion = 3\n[plugins]\n'''\n"
        f"password = '{SECRET}'\n",
    ),
    Configuration(
        "single quotes",
        f"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.'my-own']\n{RUNC}{DEFAULT}",
    ),
    Configuration(
        "spaces in headers",
        f'version = 2\n[ plugins . "io.containerd.grpc.v1.cri" . containerd . runtimes.mine ]\n{RUNC}{DEFAULT}',
    ),
    Configuration(
        "tabs", f"version = 2\n\t[plugins]\n\t\t[{CRI}]\n\t\t\tmax_container_log_line_size\t=\t16384\t# wide\n"
    ),
    Configuration("a name with a dot", f'version = 2\n[{CRI}.containerd.runtimes."my.own"]\n{RUNC}{DEFAULT}'),
    Configuration(
        "dotted keys", f"version = 2\n{CRI}.max_container_log_line_size = 16384\n", refused=_on(("1.4",), NOT_READ)
    ),
    Configuration(
        "dotted keys in a table",
        'version = 2\n[plugins]\n"io.containerd.grpc.v1.cri".max_container_log_line_size = 16384\n',
        refused=_on(("1.4",), NOT_READ),
    ),
    Configuration(
        "an inline handler",
        f"version = 2\n[{CRI}.containerd.runtimes]\nmine = {{ {RUNC.strip()} }}\nrunc = {{ {RUNC.strip()} }}\n",
    ),
    Configuration(
        # They have no default handler then.
        "an empty table of handlers",
        f"version = 2\n[{CRI}.containerd.runtimes]\n",
        refused=_on(("1.6", "1.7"), DOWN),
    ),
    Configuration(
        "an inline table of handlers",
        f"version = 2\n[{CRI}.containerd]\nruntimes = {{ runc = {{ {RUNC.strip()} }} }}\n",
        on=("1.4", "1.7"),
        refused=_on(ALL, "have room for"),
    ),
    Configuration(
        "inline plugins",
        "version = 2\nplugins = { 'io.containerd.grpc.v1.cri' = { max_container_log_line_size = 16384 } }\n",
        on=("1.6", "1.7"),
        refused=_on(ALL, "have room for"),
    ),
    Configuration(
        "inline plugins beside a drop-in",
        "version = 2\nplugins = { 'io.containerd.grpc.v1.cri' = { enable_cdi = true } }\n",
        on=TWO,
    ),
    Configuration(
        "tables in any order",
        f"version = 2\n[{CRI}.containerd.runtimes.mine.options]\nNoPivotRoot = false\n[debug]\nlevel = 'info'\n"
        f"[{CRI}.containerd.runtimes.mine]\n{RUNC}[grpc]\nuid = 0\n[{CRI}.containerd.runtimes.runc]\n{RUNC}",
    ),
    Configuration(
        "an array of tables",
        "version = 3\n[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\nplatform = 'linux/amd64'\n"
        "snapshotter = 'overlayfs'\n[debug]\nlevel = 'info'\n",
        on=TWO,
    ),
    Configuration(
        "odd values",
        f'version = 2\noom_score = +0\n[{CRI}]\nmax_container_log_line_size = 0x4000\nstream_idle_timeout = "4h0m0s"\n'
        f'[{CRI}.registry.headers]\n"X-Ünïcode" = [ \'a\', # one\n   "\\u00e9" ,\n]\n',
        refused=_on(("1.4",), NOT_READ),
    ),
    Configuration(
        "secrets and comments",
        f"# Übergröße 🦆\nversion = 2 # {SECRET}\n[{CRI}.registry.configs.'registry.example.com'.auth]\n"
        f"username = 'node'\npassword = '{SECRET}'\n",
    ),
    # What an admin has there already.
    Configuration("handlers of the admin's", f"version = 2\n{HANDLER}"),
    Configuration(
        "a handler without runc",
        f"version = 2\n[{CRI}.containerd]\ndefault_runtime_name = 'mine'\n[{CRI}.containerd.runtimes.mine]\n{RUNC}",
    ),
    Configuration(
        "a handler of our name",
        f"version = 2\n[{CRI}.containerd.runtimes.kata-qemu]\n{RUNC}{DEFAULT}",
        refused=_on(ALL, "coco_conflicts"),
    ),
    Configuration("names like ours", f"version = 2\n[{CRI}.containerd.runtimes.kata-qemu-2]\n{RUNC}{DEFAULT}"),
    Configuration(
        "the old untrusted runtime", f"version = 2\n[{CRI}.containerd.untrusted_workload_runtime]\n{RUNC}", on=ONE
    ),
    Configuration(
        "a proxy plugin", "version = 2\n[proxy_plugins.soci]\ntype = 'snapshot'\naddress = '/run/soci.sock'\n"
    ),
    Configuration("other disabled plugins", "version = 2\ndisabled_plugins = ['io.containerd.snapshotter.v1.zfs']\n"),
    Configuration(
        "schema 3",
        f"version = 3\n[{CRI_3}.containerd.runtimes.mine]\n{RUNC}[plugins.'io.containerd.cri.v1.images']\nmax_concurrent_downloads = 5\n",
        on=TWO,
    ),
    Configuration("schema 3 with tables of schema 2", f"version = 3\n{HANDLER}", on=TWO),
    Configuration("no TOML", "version = 2\n[plugins\n", refused=_on(ALL, NOT_READ)),
    Configuration("a table twice", f"version = 2\n{HANDLER}{HANDLER}", refused=_on(ALL, NOT_READ)),
    # Files and links.
    Configuration(
        "a relative link", files={"config.toml": "-> ours/main.toml", "ours/main.toml": f"version = 2\n{HANDLER}"}
    ),
    Configuration(
        "an absolute link", files={"config.toml": "-> /etc/containerd/main", "main": f"version = 2\n{HANDLER}"}
    ),
    Configuration(
        "a dangling link", files={"config.toml": "-> nowhere.toml"}, refused=_on(ALL, "a link to nowhere.toml")
    ),
    Configuration("mode 0600", f"version = 2\n{HANDLER}", mode="0600"),
    Configuration("another owner", f"version = 2\n{HANDLER}", owner="admin:sudo", mode="0640"),
    Configuration(
        "a backup",
        f"version = 2\n{HANDLER}",
        files={"config.toml.bak": "version = 1\n", "conf.d/old.toml": "no TOML [\n"},
    ),
    # Imports.
    Configuration("imports of nothing", f"version = 2\nimports = [ ]   # none\n{HANDLER}"),
    # 2.x lets a dump pass that it does not start with.
    Configuration(
        "an import that is missing",
        f"version = 2\nimports = ['/etc/containerd/none.toml']\n{HANDLER}",
        refused=_on(ALL[1:], ""),
    ),
    Configuration("a pattern without files", f"version = 2\n{GLOB}{HANDLER}"),
    Configuration(
        "imports in several lines",
        "version = 2\nimports = [\n  # those of the platform team\n  \"/etc/containerd/a.toml\", # first\n  '/etc/containerd/b*.toml'\n]\n",
        files={"a.toml": "version = 2\noom_score = -1\n", "b1.toml": "version = 2\n[debug]\nlevel = 'warn'\n"},
    ),
    Configuration(
        "a relative import",
        f"version = 2\nimports = ['more/a.toml']\n{HANDLER}",
        files={"more/a.toml": "version = 2\noom_score = -1\n"},
    ),
    Configuration(
        "a relative pattern",
        f"version = 2\nimports = ['more/*.toml']\n{HANDLER}",
        files={"more/a.toml": "version = 2\noom_score = -1\n"},
        on=("1.7", *TWO),
    ),
    Configuration(
        "nested imports",
        "version = 2\nimports = ['/etc/containerd/a.toml']\n",
        files={
            "a.toml": "version = 2\nimports = ['/etc/containerd/b.toml']\n",
            "b.toml": "version = 2\n[debug]\nlevel = 'warn'\n",
        },
    ),
    Configuration(
        "a drop-in with a proxy plugin",
        f"version = 2\n{GLOB}{HANDLER}",
        files={
            "conf.d/soci.toml": "version = 2\n[proxy_plugins.soci]\ntype = 'snapshot'\naddress = '/run/soci.sock'\n"
        },
    ),
    Configuration(
        "NVIDIA's drop-in",
        f"version = 2\n{GLOB}{HANDLER}",
        files={
            "conf.d/99-nvidia.toml": f"version = 2\n[{CRI}.containerd]\ndefault_runtime_name = 'nvidia'\n"
            f"[{CRI}.containerd.runtimes.nvidia]\n{RUNC}{DEFAULT}"
        },
    ),
    Configuration(
        "a drop-in of schema 3 with our handler's name",
        f"version = 3\n{GLOB}",
        files={"conf.d/a.toml": f"version = 3\n[{CRI_3}.containerd.runtimes.kata-clh]\n{RUNC}"},
        on=TWO,
        refused=_on(TWO, "kata-clh in /etc/containerd/conf.d/a.toml"),
    ),
    Configuration(
        "a foreign file where our drop-in goes",
        f"version = 3\n{GLOB}",
        files={"conf.d/99-confidential-containers.toml": "version = 3\n[debug]\nlevel = 'warn'\n"},
        on=TWO,
    ),
    Configuration(
        "imports with a comma at the end",
        f"version = 2\nimports = [\r\n\t'/etc/containerd/a.toml'  ,\r\n\t# the end\r\n]\r\n{HANDLER}",
        files={"a.toml": "version = 2\n[debug]\nlevel = 'warn'\n"},
    ),
    Configuration(
        "an import twice",
        f"version = 2\nimports = ['/etc/containerd/a.toml', '/etc/containerd/a.toml']\n{HANDLER}",
        files={"a.toml": "version = 2\n[debug]\nlevel = 'warn'\n"},
    ),
    Configuration(
        "imports in a circle",
        f"version = 2\nimports = ['/etc/containerd/a.toml']\n{HANDLER}",
        files={"a.toml": "version = 2\nimports = ['/etc/containerd/config.toml']\n[debug]\nlevel = 'warn'\n"},
    ),
    Configuration(
        "an import through a link",
        f"version = 2\nimports = ['/etc/containerd/enabled/*.toml']\n{HANDLER}",
        files={
            "enabled/a.toml": "-> ../available/a.toml",
            "available/a.toml": "version = 2\n[debug]\nlevel = 'warn'\n",
        },
    ),
    Configuration(
        "a hidden drop-in", f"version = 2\n{GLOB}{HANDLER}", files={"conf.d/.soci.toml": f"version = 2\n{PROXY}"}
    ),
    Configuration("a drop-in without version", f"version = 2\n{GLOB}{HANDLER}", files={"conf.d/soci.toml": PROXY}),
    Configuration("an empty drop-in", f"version = 2\n{GLOB}{HANDLER}", files={"conf.d/soci.toml": "# nothing\n"}),
    Configuration(
        "a drop-in of a higher version",
        f"version = 2\n{GLOB}{HANDLER}",
        files={"conf.d/mine.toml": f"version = 3\n{HANDLER_3}"},
        on=TWO,
        refused=_on(
            ("2.1", "2.2"), "look for other CRI sections"
        ),  # these have lost the main file's CRI section already
    ),
    Configuration(
        "a drop-in of a lower version",
        f"version = 3\n{GLOB}{HANDLER_3}",
        files={"conf.d/edge.toml": f"version = 2\n{HANDLER.replace('mine', 'edge')}"},
        on=TWO,
    ),
    Configuration(
        "two drop-ins with handlers",
        f"version = 2\n{GLOB}{HANDLER}",
        files={
            "conf.d/1.toml": f"version = 2\n{HANDLER.replace('mine', 'one')}",
            "conf.d/2.toml": f"version = 2\n{HANDLER}[{CRI}]\nmax_container_log_line_size = 8192\n",
        },
    ),
    Configuration(
        "a drop-in of schema 3",
        f"version = 3\n{GLOB}",
        files={"conf.d/mine.toml": f"version = 3\n{HANDLER_3}"},
        on=TWO,
    ),
    Configuration(
        "a drop-in of schema 4",
        f"version = 4\n{GLOB}",
        files={"conf.d/mine.toml": f"version = 4\n{HANDLER_3}"},
        on=("2.3", "2.4"),
    ),
    Configuration(
        "a drop-in with a CRI section but no handlers",
        f"version = 2\n{GLOB}{HANDLER}",
        files={"conf.d/a.toml": f"version = 2\n[{CRI}]\nmax_container_log_line_size = 8192\n"},
    ),
    Configuration(
        "a nested drop-in with handlers",
        "version = 2\nimports = ['/etc/containerd/a.toml']\n",
        files={
            "a.toml": "version = 2\nimports = ['/etc/containerd/b.toml']\n",
            "b.toml": f"version = 2\n{HANDLER}",
        },
    ),
    Configuration(
        "NVIDIA's drop-in of schema 3",
        f"version = 3\n{GLOB}{HANDLER_3}",
        files={
            "conf.d/99-nvidia.toml": f"version = 3\n[{CRI_3}.containerd]\ndefault_runtime_name = 'nvidia'\n"
            f"[{CRI_3}.containerd.runtimes.nvidia]\n{RUNC}[{CRI_3}.containerd.runtimes.nvidia.options]\n"
            "BinaryName = '/usr/bin/nvidia-container-runtime'\n"
        },
        on=TWO,
    ),
    Configuration("a config.toml that is a directory", files={"config.toml/README": ""}, refused=_on(ALL, "a file at")),
    Configuration("another socket", "version = 2\n[grpc]\naddress = '/run/containerd/other.sock'\n"),
    Configuration(
        "tables of schema 2 without version",
        f"[{CRI}]\nenable_cdi = false\n{HANDLER}",
        refused=_on(TWO, "'version = 2'"),
    ),
)

# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write what repeats what others say: CHANGELOG.md, a README.md for each role, in the argument specs of uninstall and cleanup the
options that install has, too, and the table of all messages.

generate.py           writes them
generate.py --check   shows how they differ from what would be written, and fails if they do
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import typing as t
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LINE = 120


def main(words: list[str]) -> None:
    texts = {"CHANGELOG.md": changelog(), "tests/unit/messages.txt": messages()}
    for role in roles():
        texts[specs_of(role)] = specs = with_shared_options(role)
        texts[f"roles/{role}/README.md"] = readme(role, specs)
    match words:
        case []:
            for name, text in texts.items():
                (ROOT / name).write_text(text, encoding="utf-8")
        case ["--check"]:
            differences = [line for name, text in texts.items() for line in difference(name, text)]
            if differences:
                print(*differences, 'These files are out of date. Run "make generate".', sep="\n")
                raise SystemExit(1)
        case _:
            raise SystemExit(__doc__)


def difference(name: str, text: str) -> t.Iterator[str]:
    path = ROOT / name
    found = path.read_text(encoding="utf-8") if path.exists() else ""
    return difflib.unified_diff(found.splitlines(), text.splitlines(), name, "what would be written", lineterm="", n=0)


def changelog() -> str:
    """Return the changelog as it would be if the version in galaxy.yml were released now.

    The release is made in a copy: there it takes the fragments with it.
    """
    fragments = list(ROOT.glob("changelogs/fragments/*.yml"))
    version = load("galaxy.yml")["version"]
    if fragments and version in load("changelogs/changelog.yaml")["releases"]:
        raise SystemExit(
            f"{fragments[0].name} is for the next release, but galaxy.yml names {version}. Raise the version."
        )
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory, "ansible_collections/confidential_containers/runtime")
        copy.mkdir(parents=True)
        shutil.copy2(ROOT / "galaxy.yml", copy)
        left = shutil.ignore_patterns(".plugin-cache.yaml", "__pycache__")
        for name in ("changelogs", "plugins", "roles"):
            shutil.copytree(ROOT / name, copy / name, ignore=left)
        subprocess.run(["antsibull-changelog", "release" if fragments else "generate"], cwd=copy, check=True)
        return (copy / "CHANGELOG.md").read_text(encoding="utf-8")


def load(name: str) -> t.Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def messages() -> str:
    """Return the table of all that this collection says to its users."""
    done = subprocess.run([sys.executable, ROOT / "tests/messages.py"], capture_output=True, text=True, check=True)
    return done.stdout


def roles() -> list[str]:
    """Return the names of the roles that users call."""
    return sorted(path.parts[-3] for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def specs_of(role: str) -> str:
    return f"roles/{role}/meta/argument_specs.yml"


def with_shared_options(role: str) -> str:
    """Return a role's argument specs with the options that it shares with install as they stand there."""
    head, begin, own = (ROOT / specs_of(role)).read_text(encoding="utf-8").partition("    options:\n")
    shared = options((ROOT / specs_of("install")).read_text(encoding="utf-8").partition(begin)[2])
    return head + begin + "".join(shared.get(name, text) for name, text in options(own).items())


def options(text: str) -> dict[str, str]:
    """Return the text of each option in argument specs."""
    parts = re.split(r"^(?=      (\w+):\n)", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def readme(role: str, specs: str) -> str:
    """Return a role's README, from its argument specs."""
    spec = yaml.safe_load(specs)["argument_specs"]["main"]
    return "\n".join(
        [
            f'<!-- "make generate" writes this file from meta/argument_specs.yml. -->\n\n# {role}\n',
            f"{spec['short_description']}.\n",
            *(f"{filled(paragraph)}\n" for paragraph in spec["description"]),
            "[How to call it](../../README.md#in-playbooks-of-your-own), and",
            "[all variables in short](../../README.md#variables).\n",
            "## Variables\n",
            *(line for name, option in spec["options"].items() for line in described(name, option)),
            "",
        ]
    )


def described(name: str, option: t.Mapping[str, t.Any], depth: int = 0) -> t.Iterator[str]:
    """Yield an item of a list for an option, and one for each of its keys below it."""
    paragraphs = option["description"]
    paragraphs = [paragraphs] if isinstance(paragraphs, str) else paragraphs
    yield filled(f"- `{name}` ({', '.join(facts(option))}): {' '.join(paragraphs)}", depth)
    for key, part in option.get("options", {}).items():
        yield from described(key, part, depth + 1)


def facts(option: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """Yield what an option takes."""
    yield f"{option['type']} of {option['elements']}" if "elements" in option else option["type"]
    if "choices" in option:
        yield " or ".join(f"`{choice}`" for choice in option["choices"])
    if option.get("required"):
        yield "required"
    if option.get("default") not in (None, [], {}):
        yield f"default `{str(option['default']).lower()}`"


def filled(paragraph: str, depth: int = 0) -> str:
    """Return a paragraph of Ansible's documentation as Markdown, in lines."""
    text = re.sub(r"\b[CIMOV]\(([^)]*)\)", r"`\1`", paragraph)
    return textwrap.fill(
        text,
        LINE,
        initial_indent="  " * depth,
        subsequent_indent="  " * (depth + text.startswith("- ")),
        break_long_words=False,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])

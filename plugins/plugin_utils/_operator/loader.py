# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML as Kubernetes reads it, from an author who may not be trusted."""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.confidential_containers.runtime.plugins.module_utils._errors import Refusal
from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator.kinds import short

#: The most fields that merges with "<<" may give a mapping. No mapping of a manifest has so many.
_MERGED = 1000


class _Loader(yaml.SafeLoader):
    """A loader that reads 2026-01-01 and 1:30 as text. It refuses a key that is there twice, and a merge that grows too large."""

    def compose_mapping_node(self, anchor: t.Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in names:
                raise yaml.MarkedYAMLError(problem=f"the key {short(key.value)} again", problem_mark=key.start_mark)
            names.add(key.value)
            if key.tag == "tag:yaml.org,2002:merge" and not isinstance(value, yaml.MappingNode):
                problem = "a merge of something else than one mapping"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> t.Any:
        if not isinstance(node, yaml.ScalarNode):
            return super().construct_object(node, deep)
        if ":" in node.value and node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            node.tag = "tag:yaml.org,2002:str"
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            raise yaml.MarkedYAMLError(problem="no value of its type", problem_mark=node.start_mark) from error

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        written = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > max(written, _MERGED):
            raise yaml.MarkedYAMLError(problem="a mapping of too many fields", problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(text: str) -> list[t.Any]:
    """Return the documents of a YAML stream."""
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found = (error.problem or "a mistake").removeprefix("found ") + (f" in line {mark.line + 1}" if mark else "")
    except yaml.reader.ReaderError as error:
        found = f"a character that YAML does not allow in line {text.count(chr(10), 0, error.position) + 1}"
    except RecursionError:
        found = "lists or mappings within each other without end"
    raise Refusal(
        "the manifest to be YAML",
        found,
        "Correct the YAML there, or print the manifest again: kubectl get ccruntime -o yaml.",
    )

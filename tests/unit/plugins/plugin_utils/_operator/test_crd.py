# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of the CRD, and the table of what becomes of its fields."""

from __future__ import annotations

from ansible_collections.confidential_containers.runtime.plugins.plugin_utils._operator import crd, role_variables


def test_every_field_of_the_schema_is_acted_on() -> None:
    """A field sets a variable, says that it is not used, or is one of those that the conversion reads by itself."""
    read = {"runtimeClasses", "runtimeClassNames", "defaultRuntimeClassName", *role_variables.HOOKS}
    fields = crd.CONFIG.fields
    assert {name for name, field in fields.items() if not (name in role_variables.AS_THEY_ARE or field.unused)} == read
    assert set(role_variables.AS_THEY_ARE) <= set(fields)

# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter for what an installer's environment says to a native installation."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.confidential_containers.runtime.plugins.filter.native_settings import (
    FilterModule,
    native_settings,
)
from ansible_collections.confidential_containers.runtime.tests.unit.ccruntime import variables


def test_settings() -> None:
    given = variables(SHIMS="qemu", INSTALLATION_PREFIX="/srv")
    assert native_settings(given, ["kata-qemu"], t.cast("bool", "no")) == {
        "prefix": "/srv/opt/kata",
        "handlers": ["kata-qemu"],
        "overrides": {},
        "notes": [],
    }


def test_a_refusal_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="Found srv"):
        native_settings(variables(INSTALLATION_PREFIX="srv"))


def test_the_filter_is_registered() -> None:
    assert FilterModule().filters() == {"native_settings": native_settings}

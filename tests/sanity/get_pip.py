# Stands in for the get-pip.py that ansible-test downloads.
from __future__ import annotations

import ensurepip

ensurepip.bootstrap()

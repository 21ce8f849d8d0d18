# SPDX-License-Identifier: Apache-2.0
"""Django's routes as names of operations."""

from __future__ import annotations

import pytest

from skystitch.django_route import readable


@pytest.mark.parametrize(
    ("route", "written"),
    [
        ("", "/"),
        ("users/<int:pk>/", "/users/<int:pk>/"),
        ("a(b)/", "/a(b)/"),  # of path(): nothing in it is an expression
        (r"^users/(?P<pk>[0-9]+)/$", "/users/<pk>/"),
        (r"api/^v1\.0/users/$", "/api/v1.0/users/"),
        (r"^(\w+)/([^/)]+)/\Z", "/<var>/<var>/"),
        (r"^\Ax\b/(?i)$", "/x/"),
        (r"^(?P<a>(b|(c)))/d$", "/<a>/d"),
        (r"^(?:page-(?P<n>\d+)/)?$", "/page-<n>/"),
        (r"^x/(?=y)(?!z)(?<!a)y$", "/x/y"),
        (r"^x[()]/(?P<n>[)])/$", "/x[()]/<n>/"),
        (r"^[]a]/(b[^]c])$", "/[]a]/<var>"),
        (r"^x\(1\)/\d+$", r"/x(1)/\d"),
        (r"^unclosed/(?P<n>x", "/unclosed/<n>"),
        (r"^unclosed/(?P<n", "/unclosed/<n>"),
        ("^trailing\\", "/trailing"),
        (r"^unclosed[abc", "/unclosed[abc"),
        (r"^a)b$", "/a"),
    ],
)
def test_readable(route: str, written: str) -> None:
    assert readable(route) == written

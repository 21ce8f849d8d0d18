# SPDX-License-Identifier: Apache-2.0
"""Django's admin over a database in the file ADMIN_DATABASE, with one superuser: chief, secret."""

from __future__ import annotations

import os

import tracing

tracing.start()

import django  # noqa: E402
from django.conf import settings  # noqa: E402

HERE = "admin_django"

settings.configure(
    DEBUG=False,
    SECRET_KEY="of the tests",
    ALLOWED_HOSTS=["127.0.0.1", "app"],
    ROOT_URLCONF=HERE,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["ADMIN_DATABASE"]}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    STATIC_URL="/static/",
    USE_TZ=True,
)
django.setup()

from django.contrib import admin  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

call_command("migrate", verbosity=0)
if not User.objects.exists():
    User.objects.create_superuser("chief", password="secret")


def ready(_: HttpRequest) -> HttpResponse:
    return HttpResponse("ready")


urlpatterns = [path("ready", ready), path("admin/", admin.site.urls)]
application = get_wsgi_application()

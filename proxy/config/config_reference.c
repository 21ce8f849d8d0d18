/* SPDX-License-Identifier: Apache-2.0 */
/* Prints docs/reference.md from the tables, so that no page can say another thing than the program.
 */
#include <string.h>

#include "proxy/admin/metrics.h"
#include "proxy/config/config_command.h"
#include "proxy/config/config_option.h"
#include "proxy/config/config_print.h"

/* A cell of a Markdown table: a bar would end it. */
static void put_cell(const char *text, FILE *out)
{
    fputs(" ", out);
    for (; *text != '\0'; text++) {
        if (*text == '|')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputs(" |", out);
}

static void put_code_cell(const char *text, FILE *out)
{
    if (text[0] == '\0')
        fputs(" |", out);
    else
        fprintf(out, " `%s` |", text);
}

static void write_option(const struct sky_option *option, FILE *out)
{
    char variable[80], kind[SKY_OPTION_TEXT_BYTES];
    sky_option_variable(option, variable, sizeof(variable));
    sky_option_kind(option, kind, sizeof(kind));
    fputc('|', out);
    put_code_cell(option->path, out);
    put_code_cell(option->initial, out);
    put_cell(kind, out);
    fprintf(out, " `%s`", variable);
    if (option->alias != NULL)
        fprintf(out, ", `%s`", option->alias);
    fputs(" |", out);
    put_cell(option->help, out);
    fputc('\n', out);
}

static void write_options(FILE *out)
{
    fputs(
        "## Options\n"
        "\n"
        "As in the file: `limits.body` is `body` in the section `limits`. Any of them can stand "
        "on\n"
        "the command line: `--set limits.body=1GiB`. The second name of the environment is the\n"
        "SkyWalking Python agent's, with its meaning (times in seconds). A size without a unit is\n"
        "bytes; a time needs its unit. `off`, `false` and `no` mean the same, and case does not\n"
        "matter in words.\n"
        "\n"
        "| option | default | value | environment | meaning |\n"
        "|---|---|---|---|---|\n",
        out);
    for (size_t i = 0; i < sky_option_count; i++)
        write_option(&sky_options[i], out);
}

static void write_lists(FILE *out)
{
    fputs(
        "\n"
        "## Where requests come from and go to\n"
        "\n"
        "```yaml\n"
        "listen:\n"
        "  - {address: \":8080\"}\n"
        "upstreams:\n"
        "  app: {servers: [\"unix:/run/app.sock\"]}\n"
        "  reports: {servers: [\"10.0.0.7:8000\", \"10.0.0.8:8000\"]}\n"
        "routes:\n"
        "  - {path: /reports/, upstream: reports}\n"
        "  - {path: /, upstream: reports, host: reports.example.org}\n"
        "  - {path: /, upstream: app}\n"
        "```\n"
        "\n"
        "* `listen`: addresses to take requests at; `:8080` when there is none. A plain address "
        "may\n"
        "  stand for `{address: ...}`. Environment: `SKYSTITCH_LISTEN`, with commas.\n"
        "* `upstreams`: each a name of letters, digits and `-._`, and its servers. Environment:\n"
        "  `SKYSTITCH_UPSTREAM`: servers of one upstream, with commas.\n"
        "* `max_fails: 3` and `fail_timeout: 10s` of an upstream: a server of several that so "
        "often\n"
        "  within that time took no connection, or closed or kept it without an answer, is passed\n"
        "  over for that time; then the next request tries it. Each worker counts for itself. "
        "When\n"
        "  none is left, all are tried again. `max_fails: 0` passes none over.\n"
        "* `routes`: the longest prefix of the path decides. Without routes all goes to the only\n"
        "  upstream.\n"
        "* `host` of a route: `shop.example.org`, or `*.example.org` for all names below it; the\n"
        "  port does not matter. A route without one, or with `host: default`, takes any host. Of\n"
        "  the routes whose path fits, one with the exact name goes before one with the longest\n"
        "  `*.`, and that before one without a host. `unknown_host: refuse` answers 421 to hosts\n"
        "  that no route names.\n"
        "* `--listen` and `SKYSTITCH_LISTEN` replace `listen`; `--upstream` and\n"
        "  `SKYSTITCH_UPSTREAM` replace `upstreams` and `routes`.\n"
        "* An address is `host:port`, `[v6]:port`, `unix:/path` or `:port`. The last one listens\n"
        "  on all addresses of the host, IPv6 and IPv4; of an upstream it is 127.0.0.1.\n",
        out);
}

static void write_tls(FILE *out)
{
    fputs("\n"
          "## TLS\n"
          "\n"
          "```yaml\n"
          "listen:\n"
          "  - {address: \":80\", redirect_https: on}\n"
          "  - address: \":443\"\n"
          "    tls:\n"
          "      certificates:\n"
          "        - {certificate: /etc/tls/shop.pem, key: /etc/tls/shop.key}\n"
          "        - {certificate: /etc/tls/admin.pem, key: /etc/tls/admin.key}\n"
          "      client_ca: /etc/tls/clients.pem\n"
          "      client_auth: optional\n"
          "      hsts: max-age=31536000\n"
          "```\n"
          "\n"
          "| member of `tls` | meaning |\n"
          "|---|---|\n"
          "| `certificate`, `key` | Files in PEM: the certificate with its intermediate ones "
          "behind it, and its key without a password. |\n"
          "| `certificates` | Such pairs for several hosts. A client gets the first whose "
          "certificate is for the host that it names (SNI), else the first of all. |\n"
          "| `client_ca` | Certificates that sign those of clients. When given, clients are asked "
          "for one. |\n"
          "| `client_auth` | `require` (when not given): no handshake without a sound certificate. "
          "`optional`: one without is taken, one with a bad one is not. |\n"
          "| `hsts` | Value of `Strict-Transport-Security` in every answer, in place of the app's. "
          "|\n"
          "\n"
          "`redirect_https` of a listener without TLS: every request is answered with 308 to the "
          "same\n"
          "URL with https, at port 443 (`on`) or the one given. It is not traced.\n"
          "\n"
          "TLS 1.2 and 1.3, ciphers with forward secrecy and AEAD only, HTTP/1.1. Files are read "
          "at\n"
          "start; `--check` reads them too.\n",
          out);
}

static void write_routes(FILE *out)
{
    fputs(
        "\n"
        "## What a route can say\n"
        "\n"
        "```yaml\n"
        "routes:\n"
        "  - path: /reports/\n"
        "    upstream: reports\n"
        "    strip_prefix: on\n"
        "    traced: off\n"
        "    limits: {body: 2GiB}\n"
        "    timeouts: {response: 10m}\n"
        "    request_headers: {set: {X-Area: reports}, remove: [Cookie]}\n"
        "    response_headers: {set: {Cache-Control: no-store}, remove: [Server]}\n"
        "  - {path: /, host: www.example.org, redirect: \"https://example.org\"}\n"
        "  - {path: /static/, static: /srv/static, cache_control: \"max-age=3600\"}\n"
        "  - {path: /media/, static: /srv/media, upstream: app}\n"
        "  - {path: /old/, return: {status: 301, location: \"/new/$rest$query\"}}\n"
        "  - {path: /teapot, return: {status: 418, body: short and stout}}\n"
        "```\n"
        "\n"
        "| member | meaning |\n"
        "|---|---|\n"
        "| `upstream` | The upstream that answers. A route has this or `static` or both, or "
        "`redirect`, or `return`. |\n"
        "| `static` | A folder whose files are served without the app: what follows the route's "
        "path, which ends in `/`, is looked for there. With an `upstream` beside it, the app is "
        "asked for what is not there. Symbolic links are followed when they are relative and stay "
        "inside; names that begin with a dot are not served. `name.br` and `name.gz` beside a file "
        "are sent to those who take them. ETag, Last-Modified, conditions and single ranges as in "
        "RFC 9110. Needs Linux 5.6. |\n"
        "| `index` | The file for a path that ends in `/`; `index.html` when not given, none when "
        "empty. |\n"
        "| `cache_control` | The field Cache-Control of these files. |\n"
        "| `redirect` | 308 to a URL or a path. `https://host` alone keeps path and query: it is "
        "`https://host$path$query`. |\n"
        "| `return` | `status` with a `body` (plain text), or 301, 302, 303, 307 or 308 with a "
        "`location`. In a location, `$host` is the request's host without its port, `$path` and "
        "`$query` are as they came (the query with its `?`), `$rest` is the path behind the "
        "route's. |\n"
        "| `strip_prefix` | `on`: the app sees the path without the route's, which ends in `/`, "
        "and gets it as `X-Forwarded-Prefix`, behind that of a trusted peer (Flask: "
        "`ProxyFix(x_prefix=1)`). |\n"
        "| `traced` | `off`: no trace. Else the rules of `agent` decide. |\n"
        "| `limits.body` | In place of the general one, above or below it. |\n"
        "| `timeouts.response` | In place of the general one. |\n"
        "| `request_headers` | `set` replaces a field, `add` adds one, `remove` takes it away, "
        "after all that the proxy sets itself; `Host` can be set. |\n"
        "| `response_headers` | The same with the answers of the app and of `return`; the proxy's "
        "own error pages stay as they are. |\n",
        out);
}

static void write_environment(FILE *out)
{
    fputs(
        "\n"
        "## Environment\n"
        "\n"
        "The command line beats the environment, the environment the file, the file the default.\n"
        "`SKYSTITCH_CONFIG` names a file when `--config` does not. Of two names of one option the\n"
        "one that begins with `SKYSTITCH_` wins. An empty variable is none, but for lists, where "
        "it\n"
        "is the empty list. `oap_host:oap_port`, the Python agent's placeholder, is no backend.\n"
        "\n"
        "A bad value stops the start. An unknown `SW_*` or `SKYSTITCH_*` name gets one warning "
        "with\n"
        "the name that was probably meant. Nothing is said about names of the helper in the app, "
        "of\n"
        "OAP, or of Kubernetes' service links (`*_SERVICE_HOST`, `*_PORT*`).\n",
        out);
}

static void write_access_log(FILE *out)
{
    fputs(
        "\n"
        "## Access log\n"
        "\n"
        "With `log.format: json` a line is an object in ASCII; what a request did not have is left "
        "out.\n"
        "\n"
        "| member | what |\n"
        "|---|---|\n"
        "| `time` | of the request's first byte, UTC |\n"
        "| `client` | address of the peer |\n"
        "| `method`, `target`, `protocol`, `host`, `referer`, `user_agent` | as received; the "
        "target with its query |\n"
        "| `status` | as sent; 499: the client left before there was an answer |\n"
        "| `bytes` | of the answer's body |\n"
        "| `trace`, `segment`, `operation` | ids as in SkyWalking, and the route; of traced "
        "requests, also those that sampling leaves |\n"
        "| `upstream` | address of the last server tried |\n"
        "| `failure` | what failed: why a request was refused, or had no answer of the app |\n"
        "| `client_gone` | `true`: the client left before the answer was whole |\n"
        "| `queue_ms` | from the first byte to the first attempt at a server: the request's head "
        "and body came in |\n"
        "| `connect_ms` | until the last attempt had its connection |\n"
        "| `first_byte_ms` | from there to the answer's first byte: the app's time |\n"
        "| `total_ms` | from the first byte of the request to the last of the answer |\n",
        out);
}

static void write_pages(FILE *out)
{
    fputs(
        "\n"
        "## Admin pages\n"
        "\n"
        "| request | answer |\n"
        "|---|---|\n"
        "| `GET /` | the newest traces |\n"
        "| `GET /api/traces`, `/api/traces/ID` | the same as JSON; every segment of one trace |\n"
        "| `GET /metrics` | the counters below, for Prometheus |\n"
        "| `GET /livez` | 200 as long as the process answers |\n"
        "| `GET /readyz` | 200, and 503 from TERM on; SkyWalking being down does not matter |\n"
        "| `GET /api/config` | what is in effect, secrets masked |\n"
        "| `POST /v3/segments`, `/v3/segment` | segments of other skystitch processes and of "
        "agents in HTTP "
        "mode |\n"
        "| `POST /v3/management/reportProperties`, `/v3/management/keepAlive` | 200, nothing is "
        "kept |\n"
        "\n"
        "A `POST` elsewhere than below `/v3/` needs a header `X-Skystitch`, so that no page of\n"
        "another site can send it. The `Host` must be an IP address, `localhost`, or the host of\n"
        "`admin.listen`: anything else is answered 421.\n",
        out);
}

static void write_metrics(FILE *out)
{
    fputs("\n"
          "## Metrics\n"
          "\n"
          "Counters end in `_total`. No segment is lost without being counted by its reason.\n"
          "\n"
          "| metric | label | meaning |\n"
          "|---|---|---|\n",
          out);
    for (size_t i = 0; i < sky_metrics_count; i++) {
        const struct sky_metric *metric = &sky_metrics_table[i];
        /* the version would change the page with each release */
        bool version = strncmp(metric->labels, "version=", 8) == 0;
        fputc('|', out);
        put_code_cell(metric->name, out);
        put_code_cell(version ? "version" : metric->labels, out);
        put_cell(metric->help, out);
        fputc('\n', out);
    }
}

void sky_config_write_reference(FILE *out)
{
    fputs("# Reference\n"
          "\n"
          "This page is the output of `skystitch --print-reference`; a test compares it with the\n"
          "program.\n"
          "\n"
          "## Command line\n"
          "\n"
          "```\n",
          out);
    sky_command_help(out);
    fputs("```\n\n", out);
    write_options(out);
    write_lists(out);
    write_tls(out);
    write_routes(out);
    write_environment(out);
    write_access_log(out);
    write_pages(out);
    write_metrics(out);
}

# SPDX-License-Identifier: Apache-2.0
"""redis-py, sync and async, cluster too: one Exit span for each command or pipeline.

Keys are shown, values never; of a command whose first argument is no key (AUTH, EVAL), nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from skystitch import exits
from skystitch.patches import Patches, require
from skystitch.wire import quoted

COMPONENT = 7

_READ = frozenset(
    [
        "BITCOUNT",
        "BITFIELD_RO",
        "BITPOS",
        "DUMP",
        "EXISTS",
        "EXPIRETIME",
        "GEODIST",
        "GEOHASH",
        "GEOPOS",
        "GEORADIUS_RO",
        "GEOSEARCH",
        "GET",
        "GETBIT",
        "GETRANGE",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HKEYS",
        "HLEN",
        "HMGET",
        "HRANDFIELD",
        "HSCAN",
        "HSTRLEN",
        "HVALS",
        "JSON.GET",
        "JSON.MGET",
        "LINDEX",
        "LLEN",
        "LPOS",
        "LRANGE",
        "MGET",
        "PEXPIRETIME",
        "PTTL",
        "SCARD",
        "SDIFF",
        "SINTER",
        "SINTERCARD",
        "SISMEMBER",
        "SMEMBERS",
        "SMISMEMBER",
        "SORT_RO",
        "SRANDMEMBER",
        "SSCAN",
        "STRLEN",
        "SUBSTR",
        "SUNION",
        "TTL",
        "TYPE",
        "XLEN",
        "XPENDING",
        "XRANGE",
        "XREVRANGE",
        "ZCARD",
        "ZCOUNT",
        "ZDIFF",
        "ZINTER",
        "ZLEXCOUNT",
        "ZMSCORE",
        "ZRANDMEMBER",
        "ZRANGE",
        "ZRANGEBYLEX",
        "ZRANGEBYSCORE",
        "ZRANK",
        "ZREVRANGE",
        "ZREVRANGEBYLEX",
        "ZREVRANGEBYSCORE",
        "ZREVRANK",
        "ZSCAN",
        "ZSCORE",
    ]
)
_WRITE = frozenset(
    [
        "APPEND",
        "BITFIELD",
        "BLPOP",
        "BRPOP",
        "BRPOPLPUSH",
        "BZPOPMAX",
        "BZPOPMIN",
        "COPY",
        "DECR",
        "DECRBY",
        "DEL",
        "EXPIRE",
        "EXPIREAT",
        "GEOADD",
        "GETDEL",
        "GETEX",
        "GETSET",
        "HDEL",
        "HEXPIRE",
        "HINCRBY",
        "HINCRBYFLOAT",
        "HMSET",
        "HSET",
        "HSETNX",
        "INCR",
        "INCRBY",
        "INCRBYFLOAT",
        "JSON.DEL",
        "JSON.SET",
        "LINSERT",
        "LMOVE",
        "LPOP",
        "LPUSH",
        "LPUSHX",
        "LREM",
        "LSET",
        "LTRIM",
        "MSET",
        "MSETNX",
        "PERSIST",
        "PEXPIRE",
        "PEXPIREAT",
        "PFADD",
        "PSETEX",
        "RENAME",
        "RENAMENX",
        "RESTORE",
        "RPOP",
        "RPOPLPUSH",
        "RPUSH",
        "RPUSHX",
        "SADD",
        "SDIFFSTORE",
        "SET",
        "SETBIT",
        "SETEX",
        "SETNX",
        "SETRANGE",
        "SINTERSTORE",
        "SMOVE",
        "SPOP",
        "SREM",
        "SUNIONSTORE",
        "UNLINK",
        "XACK",
        "XADD",
        "XDEL",
        "XTRIM",
        "ZADD",
        "ZINCRBY",
        "ZINTERSTORE",
        "ZPOPMAX",
        "ZPOPMIN",
        "ZREM",
        "ZREMRANGEBYLEX",
        "ZREMRANGEBYRANK",
        "ZREMRANGEBYSCORE",
        "ZUNIONSTORE",
    ]
)
_OPERATIONS = {**dict.fromkeys(_READ, "read"), **dict.fromkeys(_WRITE, "write")}
_MAX_KEY = 256
_MAX_COMMANDS = 10

_patches = Patches()


def install() -> None:
    if _patches:
        return
    from redis.client import Pipeline, Redis  # the app has imported it

    require(Redis, "execute_command")
    _patches.wrap(Redis, "execute_command", exits.traced(_command))
    _patches.wrap(Pipeline, "execute", exits.traced(_pipeline))
    for module, wrap in (
        ("redis.asyncio.client", exits.traced_async),
        ("redis.cluster", exits.traced),
        ("redis.asyncio.cluster", exits.traced_async),
    ):
        _wrap_others(sys.modules.get(module), wrap)


def uninstall() -> None:
    _patches.restore()


def _wrap_others(module: Any, wrap: Any) -> None:
    """What only some versions have."""
    for name, method, describe in (
        ("Redis", "execute_command", _command),
        ("RedisCluster", "execute_command", _command),
        ("Pipeline", "execute", _pipeline),
        ("ClusterPipeline", "execute", _pipeline),
    ):
        owner = vars(module).get(name) if module is not None else None
        if isinstance(owner, type) and owner.__module__ == module.__name__:
            _patches.wrap(owner, method, wrap(describe))


def _command(client: Any, *args: Any, **_: Any) -> exits.Target:
    command = args[0]
    operation = _OPERATIONS.get(command)
    if operation is None:
        command = _name(command)
        operation = _OPERATIONS.get(command, "")
    key = _text(args[1]) if operation and len(args) > 1 else ""
    return _target(client, command, key, command, operation)


def _pipeline(pipeline: Any, *_: Any, **__: Any) -> exits.Target | None:
    stack = _commands_of(pipeline)
    if not stack:
        return None
    commands = [_name(_arguments(command)[0]) for command in stack[:_MAX_COMMANDS]]
    if len(stack) > _MAX_COMMANDS:
        commands.append("...")
    operations = {_OPERATIONS.get(command, "") for command in commands}
    operation = operations.pop() if len(operations) == 1 else ""
    return _target(pipeline, "PIPELINE", "", " ".join(commands), operation)


def _target(client: Any, name: str, key: str, commands: str, operation: str) -> exits.Target:
    tags = (
        f'["cache.type","Redis"],["cache.key",{quoted(key)}],'
        f'["cache.cmd",{quoted(commands)}],["cache.op","{operation}"]'
    )
    return exits.Target(COMPONENT, "cache", f"Redis/{name}", _peer(client), [tags])


def _commands_of(pipeline: Any) -> Any:
    """Those that wait; of a cluster's since redis 6 what executes them has them."""
    strategy = getattr(pipeline, "_execution_strategy", None)
    if strategy is not None:
        return getattr(strategy, "_command_queue", ())
    return getattr(pipeline, "command_stack", None) or getattr(pipeline, "_command_stack", ())


def _arguments(command: Any) -> Any:
    """A pipeline's command: ((name, key), options), or an object with args."""
    return command[0] if isinstance(command, tuple) else command.args


def _name(command: Any) -> str:
    text = command if isinstance(command, str) else _text(command)
    return text.partition(" ")[0].upper()


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value[:_MAX_KEY].decode("utf-8", "replace")
    return str(value)[:_MAX_KEY] if isinstance(value, (str, int)) else ""


def _peer(client: Any) -> str:
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        return _peer_of_cluster(client)
    given = pool.connection_kwargs
    path = given.get("path")
    if path:
        return f"unix:{path}"
    name = getattr(pool, "service_name", None)  # a sentinel's
    return f"{given.get('host') or name or 'localhost'}:{given.get('port') or 6379}"


def _peer_of_cluster(client: Any) -> str:
    for name in ("_client", "cluster_client"):  # an asynchronous pipeline's; since redis 6
        client = getattr(client, name, None) or client
    manager = getattr(client, "nodes_manager", None)
    nodes = getattr(manager, "startup_nodes", None) or getattr(manager, "nodes_cache", None) or {}
    names = list(nodes)[:3]
    return ",".join(str(name) for name in names) or "localhost:6379"

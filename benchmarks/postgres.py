"""A database on PostgreSQL, by psycopg, for systems that do without Django."""

from __future__ import annotations

from functools import lru_cache

import psycopg

from benchmarks import services
from benchmarks.system import System

DATABASE = services.database_name()
SERVER = {
    "host": services.POSTGRES_HOST,
    "port": services.POSTGRES_PORT,
    "user": services.POSTGRES_USER,
    "password": services.POSTGRES_PASSWORD,
}


class OnPostgreSQL(System):
    """With a database that is made anew each time; what goes into it comes after."""

    def reset(self) -> None:
        self.remove()
        make_database()

    def remove(self) -> None:
        drop = f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'
        connect("postgres").execute(drop)

    def server(self) -> str:
        version = connect("postgres").info.parameter_status("server_version")
        return f"PostgreSQL {version.split()[0]}"


def make_database() -> None:
    connect("postgres").execute(f'CREATE DATABASE "{DATABASE}"')


@lru_cache
def connect(database: str = DATABASE) -> psycopg.Connection:
    """The connection of this process; only ``postgres`` is sure to be there."""
    return psycopg.connect(**SERVER, dbname=database, autocommit=True)

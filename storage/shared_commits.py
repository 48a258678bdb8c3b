"""One commit for what several threads have to write at the same time.

A commit to SQLite costs a sync of the disk, and a connection that finds the database locked sleeps before it
looks again. So threads of one process take turns here, and whoever has the turn writes for all who wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

_T = TypeVar("_T")


class _Work(Generic[_T]):
    """What one thread wants done, and how it ended."""

    def __init__(self, function: Callable[[Connection], _T]) -> None:
        self.function = function
        self.ended = False
        self.result: _T | None = None
        self.error: BaseException | None = None

    def do(self, connection: Connection) -> None:
        """Run; raises what the function raises."""
        self.result = self.function(connection)

    def do_beside_others(self, connection: Connection) -> None:
        """Run within a savepoint, so that an error of its own undoes nobody else's work.

        Raises SQLAlchemyError where the database failed: on a full disk, for one, SQLite takes back the whole
        transaction, the work of others with it.
        """
        try:
            with connection.begin_nested():
                self.do(connection)
        except IntegrityError as error:
            self.error = error
        except SQLAlchemyError:
            raise
        except Exception as error:
            self.error = error


class SharedCommits:
    """Runs pieces of work in transactions that threads of this process share.

    PostgreSQL shares the syncs of concurrent commits by itself, and its row locks must not be held for
    others: there every piece has a transaction of its own.
    """

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        with sessions() as session:
            engine = session.get_bind()
        assert isinstance(engine, Engine)
        self._engine = engine
        self._shares = engine.dialect.name == "sqlite"
        self._waiting: deque[_Work[object]] = deque()
        self._turn = threading.Lock()

    def run(self, function: Callable[[Connection], _T]) -> _T:
        """Return what `function` returns, once it is committed. It must neither commit nor call `run`.

        Raises what `function` raises, after which nothing of it is kept, or the SQLAlchemyError of the
        commit, after which nobody knows.
        """
        if not self._shares:
            with self._engine.begin() as connection:
                return function(connection)
        work = _Work(function)
        self._waiting.append(work)  # type: ignore[arg-type] # every thread takes out its own type again
        with self._turn:
            if not work.ended:
                self._write_for_all()
        if work.error is not None:
            raise work.error
        return work.result  # type: ignore[return-value] # ended without an error: `function` returned it

    def _write_for_all(self) -> None:
        together = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            with self._engine.begin() as connection:
                if len(together) == 1:
                    together[0].do(connection)
                else:
                    for work in together:
                        work.do_beside_others(connection)
        except BaseException as error:
            for work in together:
                work.error = error
        finally:
            for work in together:
                work.ended = True

"""Items one after the other, the next one read and the last one written while one is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

CatchUp = Callable[[], None]


def overlapped(
    items: Iterable[Item],
    prepare: Callable[[Item], Ready],
    work: Callable[[Item, Callable[[], Ready], CatchUp], Callable[[], Result]],
    tell: Callable[[Item, Callable[[], Result]], None],
) -> None:
    """Take items through preparing, work and finishing; a thread beside prepares and finishes.

    While an item is worked on, at most one is prepared ahead of it and at most one behind it is finished, so
    that three are in memory whatever their number. What is wrong with an item is raised where it is told.

    Args:
        items: taken one ahead of the work.
        prepare: run in the thread beside, in the order of the items.
        work: run here; takes the item, a function that gives what was prepared or raises what that raised,
            and one to call now and then, which tells what was finished meanwhile. Gives what is left to do,
            which is run in the thread beside.
        tell: run here, once an item, in the order of the items; takes the item and a function that gives the
            result of what was left to do, or raises what preparing, work or finishing raised. What it raises
            ends all.

    Raises:
        BaseException: what `tell` raised, or an interrupt of the work. What was worked on before is finished
            and told all the same.
    """
    behind: deque[tuple[Item, Future[Result]]] = deque()

    def catch_up(left: int = 1) -> None:
        """Tell what is finished, and wait until no more than `left` items are not."""
        while behind and (len(behind) > left or behind[0][1].done()):
            item, finished = behind.popleft()
            tell(item, finished.result)

    with ThreadPoolExecutor(1) as beside:
        ahead = ((item, beside.submit(prepare, item)) for item in items)
        following = next(ahead, None)
        try:
            while following is not None:
                item, prepared = following
                wait([prepared])  # or a second one would be read ahead
                following = next(ahead, None)
                try:
                    finish = work(item, prepared.result, catch_up)
                except Exception as error:
                    behind.append((item, _failed(error)))
                else:
                    behind.append((item, beside.submit(finish)))
                catch_up()
        finally:
            catch_up(0)


def _failed(error: Exception) -> Future:
    """What is told of an item whose work failed."""
    future: Future = Future()
    future.set_exception(error)
    return future

"""call_soon: order, arguments, cancellation, contexts, wrong arguments."""

import contextvars

import pytest

from tests.helpers.running import turn

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="unset")


def test_first_in_first_out(loop):
    ran = []
    for i in range(2000):
        loop.call_soon(ran.append, i)
    turn(loop)
    assert ran == list(range(2000))


def test_what_a_callback_schedules_runs_a_turn_later_in_order(loop):
    ran = []

    def outer(name):
        ran.append(name)
        loop.call_soon(ran.append, name + "-inner")

    loop.call_soon(outer, "a")
    loop.call_soon(outer, "b")
    loop.call_soon(ran.append, "c")
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run_forever()
    assert ran == ["a", "b", "c", "a-inner", "b-inner"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 20])
def test_any_number_of_arguments(loop, count):
    got = []
    loop.call_soon(lambda *args: got.append(args), *range(count))
    turn(loop)
    assert got == [tuple(range(count))]


def test_cancelled_handle_does_not_run(loop):
    ran = []
    loop.call_soon(ran.append, 1)
    cancelled = loop.call_soon(ran.append, 2)
    loop.call_soon(ran.append, 3)
    cancelled.cancel()
    turn(loop)
    assert ran == [1, 3]
    assert cancelled.cancelled()


def test_handle_cancelled_in_the_turn_it_is_due(loop):
    ran = []
    handles = []
    loop.call_soon(lambda: handles[0].cancel())
    handles.append(loop.call_soon(ran.append, "never"))
    turn(loop)
    assert ran == []


def test_cancel_twice_and_after_the_run(loop):
    handle = loop.call_soon(lambda: None)
    turn(loop)
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()


def test_handle_that_ran_is_not_cancelled(loop):
    handle = loop.call_soon(lambda: None)
    turn(loop)
    assert not handle.cancelled()


def test_cancel_lets_go_of_the_arguments(loop):
    import gc
    import weakref

    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    handle = loop.call_soon(lambda thing: None, thing)
    del thing
    assert ref() is not None
    handle.cancel()
    gc.collect()
    assert ref() is None
    turn(loop)


def test_the_run_lets_go_of_the_arguments(loop):
    import weakref

    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    loop.call_soon(lambda thing: None, thing)
    del thing
    turn(loop)
    assert ref() is None


def test_context_is_copied_at_the_call(loop):
    seen = []
    VAR.set("first")
    loop.call_soon(lambda: seen.append(VAR.get()))
    VAR.set("second")
    loop.call_soon(lambda: seen.append(VAR.get()))
    VAR.set("unset")
    turn(loop)
    assert seen == ["first", "second"]


def test_what_a_callback_sets_stays_in_its_context(loop):
    seen = []
    VAR.set("outside")
    loop.call_soon(VAR.set, "inside")
    loop.call_soon(lambda: seen.append(VAR.get()))
    turn(loop)
    assert seen == ["outside"]
    assert VAR.get() == "outside"


def test_context_may_be_given(loop):
    context = contextvars.copy_context()
    context.run(VAR.set, "given")
    seen = []
    loop.call_soon(lambda: seen.append(VAR.get()), context=context)
    loop.call_soon(lambda: VAR.set("changed"), context=context)
    turn(loop)
    assert seen == ["given"]
    assert context.run(VAR.get) == "changed"


def test_context_none_is_a_copy_of_the_current_one(loop):
    seen = []
    VAR.set("current")
    loop.call_soon(lambda: seen.append(VAR.get()), context=None)
    turn(loop)
    assert seen == ["current"]


@pytest.mark.differs(uvloop="a wrong context= breaks out of run_forever")
@pytest.mark.parametrize("wrong", [1, "context", object()], ids=["number", "text", "object"])
def test_wrong_context_is_refused_or_reported_and_the_loop_goes_on(loop, errors, wrong):
    ran = []
    try:
        loop.call_soon(ran.append, "wrong", context=wrong)
    except (TypeError, AttributeError):
        pass
    else:
        loop.call_soon(ran.append, "after")
        turn(loop)
        assert len(errors) == 1
        assert isinstance(errors.pop()["exception"], (TypeError, AttributeError))
        assert ran == ["after"]
    loop.call_soon(ran.append, "still runs")
    turn(loop)
    assert ran[-1] == "still runs"


@pytest.mark.differs(uvloop="an entered context= breaks out of run_forever")
def test_entered_context_is_reported_and_the_loop_goes_on(loop, errors):
    ran = []
    context = contextvars.copy_context()

    def inside():
        loop.call_soon(ran.append, "never", context=context)
        loop.call_soon(ran.append, "after")
        turn(loop)

    context.run(inside)
    assert ran == ["after"]
    errors.clear()  # since Python 3.12 the handler would run in that same context, so it is not even called


def test_keyword_arguments_are_refused(loop):
    with pytest.raises(TypeError):
        loop.call_soon(print, end="")


def test_without_a_callback(loop):
    with pytest.raises(TypeError):
        loop.call_soon()


def test_something_not_callable_is_refused_or_reported(loop, errors):
    try:
        loop.call_soon(42)
    except TypeError:
        return
    turn(loop)
    assert isinstance(errors.pop()["exception"], TypeError)


def test_callbacks_of_every_kind(loop):
    import functools

    ran = []

    class Callable:
        def __call__(self, value):
            ran.append(value)

        def method(self, value):
            ran.append(value)

        @staticmethod
        def static(value):
            ran.append(value)

    loop.call_soon(Callable(), 1)
    loop.call_soon(Callable().method, 2)
    loop.call_soon(Callable.static, 3)
    loop.call_soon(functools.partial(ran.append, 4))
    loop.call_soon(lambda value: ran.append(value), 5)
    loop.call_soon(ran.append, 6)
    turn(loop)
    assert ran == [1, 2, 3, 4, 5, 6]


def test_running_100_000_leaves_nothing_behind(loop):
    count = 0

    def work():
        nonlocal count
        count += 1

    for _ in range(100_000):
        loop.call_soon(work)
    turn(loop)
    assert count == 100_000

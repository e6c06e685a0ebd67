"""Exceptions of callbacks go to the exception handler; KeyboardInterrupt and SystemExit come out of the run."""

import logging

import pytest

from tests.helpers.running import run_until, turn


def fail(exc):
    """A callback that raises what it is given."""
    raise exc


def test_context_of_a_failing_callback(loop, errors):
    handle = loop.call_soon(fail, LookupError("mine"))
    turn(loop)
    context = errors.pop()
    assert isinstance(context["exception"], LookupError)
    assert context["message"].startswith("Exception in callback")
    assert "fail(" in context["message"] or "fail" in context["message"]
    assert context["handle"] is handle
    assert context["exception"].__traceback__ is not None


def test_context_of_a_failing_timer(loop, errors):
    timer = loop.call_later(0.001, fail, LookupError("mine"))
    run_until(loop, lambda: errors)
    context = errors.pop()
    assert isinstance(context["exception"], LookupError)
    assert context["handle"] is timer


def test_the_callbacks_after_a_failing_one_run(loop, errors):
    ran = []
    for i in range(3):
        loop.call_soon(fail, ValueError(i))
        loop.call_soon(ran.append, i)
    turn(loop)
    assert ran == [0, 1, 2]
    assert [str(context["exception"]) for context in errors] == ["0", "1", "2"]
    errors.clear()


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["call_soon", "call_later", "threadsafe", "task"])
def test_it_comes_out_and_the_loop_goes_on_with_nothing_lost(loop, kind, way):
    ran = []

    async def failing_task():
        raise kind

    loop.call_soon(ran.append, "before")
    if way == "call_soon":
        loop.call_soon(fail, kind())
    elif way == "call_later":
        loop.call_later(0, fail, kind())
    elif way == "threadsafe":
        loop.call_soon_threadsafe(fail, kind())
    else:
        task = loop.create_task(failing_task())
    loop.call_soon(ran.append, "after")
    loop.call_later(0.001, ran.append, "timer")
    with pytest.raises(kind):
        loop.run_forever()
    assert not loop.is_running()
    run_until(loop, lambda: len(ran) >= 3)
    assert sorted(ran) == ["after", "before", "timer"]
    if way == "task":
        assert isinstance(task.exception(), kind)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_it_comes_out_of_run_until_complete(loop, kind):
    async def main():
        raise kind

    with pytest.raises(kind):
        loop.run_until_complete(main())
    ran = []
    loop.call_soon(ran.append, 1)
    turn(loop)
    assert ran == [1]


def test_other_base_exceptions_are_reported(loop, errors):
    class Mine(BaseException):
        pass

    loop.call_soon(fail, Mine())
    ran = []
    loop.call_soon(ran.append, "after")
    turn(loop)
    assert isinstance(errors.pop()["exception"], Mine)
    assert ran == ["after"]


def test_handler_gets_the_loop_and_the_context(loop):
    seen = []
    loop.set_exception_handler(lambda *args: seen.append(args))
    loop.call_exception_handler({"message": "told", "extra": 1})
    assert seen == [(loop, {"message": "told", "extra": 1})]


def test_get_and_set_exception_handler(loop):
    def handler(loop, context):
        pass

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    with pytest.raises(TypeError):
        loop.set_exception_handler(42)


def test_default_handler_logs(loop, caplog):
    loop.set_exception_handler(None)
    with caplog.at_level(logging.ERROR, "asyncio"):
        loop.call_soon(fail, LookupError("mine"))
        turn(loop)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "Exception in callback" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_default_exception_handler_can_be_called(loop, caplog):
    loop.default_exception_handler({"message": "told by hand", "detail": 42})
    assert "told by hand" in caplog.text
    assert "detail: 42" in caplog.text


def test_a_failing_handler_is_logged_and_the_loop_goes_on(loop, caplog):
    def handler(loop, context):
        raise ArithmeticError("the handler's own")

    loop.set_exception_handler(handler)
    ran = []
    loop.call_soon(fail, LookupError("mine"))
    loop.call_soon(ran.append, "after")
    turn(loop)
    assert ran == ["after"]
    assert "Unhandled error in exception handler" in caplog.text


def test_handler_may_end_the_run(loop):
    def handler(loop, context):
        raise SystemExit("enough")

    loop.set_exception_handler(handler)
    loop.call_soon(fail, LookupError())
    with pytest.raises(SystemExit):
        loop.run_forever()


def test_exception_of_a_lost_task_is_reported(loop, errors):
    import gc

    async def lose():
        raise LookupError("never retrieved")

    task = loop.create_task(lose())
    turn(loop)
    turn(loop)
    del task
    gc.collect()
    context = errors.pop()
    assert context["message"] == "Task exception was never retrieved"
    assert isinstance(context["exception"], LookupError)

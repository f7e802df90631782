"""Ctrl-C and the end of a terminal are heard, whoever started the tests."""

import signal


def hear() -> None:
    """Lets this process and those that it starts end by SIGINT and SIGHUP again, if they were ignored.

    What a shell starts in the background ignores Ctrl-C, under nohup also the end of a terminal, and so would all
    programs that tests interrupt.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, usual)

"""Reads {"patterns": [...], "names": [...]} and writes, a line for each pattern, what re.match
says to each name: 1, 0, or ? after too long; or ! and why the pattern is refused."""

import json
import re
import signal
import sys
import warnings


class TooLong(Exception):
    pass


def too_long(signum, frame):
    raise TooLong()


def match(prog, name):
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        return "1" if prog.match(name) else "0"
    except (TooLong, SystemError):
        return "?"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main():
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, too_long)
    sys.setrecursionlimit(10000)
    print("%d.%d" % sys.version_info[:2])
    asked = json.load(sys.stdin)
    for pattern, names in asked:
        re.purge()
        try:
            prog = re.compile(pattern)
        except Exception as e:
            print("!" + str(e).replace("\n", " "))
            continue
        print("".join(match(prog, name) for name in names))


main()

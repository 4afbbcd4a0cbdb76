"""What a story of checks is made of.

A story is a function that takes a Story: it calls clients and says what must
come back. Every check is named by the rule that it holds, and all of them run;
a story that an error ends counts as one failed check.
"""

import datetime
import re
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

stories = []


def story(function):
    """Adds a function to the stories that run."""
    stories.append(function)
    return function


class Matcher:
    """Stands in an expected answer for all values that the test holds for."""

    def __init__(self, name, test):
        self.name, self.test = name, test

    def __eq__(self, other):
        return self.test(other)

    def __hash__(self):
        return hash(self.name)

    def __repr__(self):
        return f"<{self.name}>"


def like(pattern):
    """A string that the whole pattern matches."""
    return Matcher(f"like {pattern}", lambda v: isinstance(v, str) and re.fullmatch(pattern, v, re.S) is not None)


def _recent(v):
    return (
        isinstance(v, datetime.datetime)
        and v.tzinfo is not None
        and abs((datetime.datetime.now(datetime.timezone.utc) - v).total_seconds()) < 300
    )


UUID = like("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXT = Matcher("a text", lambda v: isinstance(v, str) and v != "")
TIME = Matcher("a datetime of these minutes", _recent)
SECOND = Matcher("a datetime of these minutes in whole seconds", lambda v: _recent(v) and v.microsecond == 0)
INT = Matcher("an int", lambda v: type(v) is int)


def answer(got):
    """An answer without what is the client's own about the HTTP exchange."""
    return {k: v for k, v in got.items() if k != "ResponseMetadata"}


class Result:
    """Counts checks and prints those that fail."""

    def __init__(self):
        self.lock, self.checks, self.failures = threading.Lock(), 0, 0

    def add(self, story, rule, ok, got, want):
        with self.lock:
            self.checks += 1
            if ok:
                return
            self.failures += 1
            print(f"FAILED {story}: {rule}\n  expected: {want}\n  came:     {got}", flush=True)


class Story:
    """One run of a story, in AWS accounts of its own."""

    def __init__(self, name, result, cloud):
        self.name, self.result, self.cloud = name, result, cloud
        self.account = cloud.account()

    def client(self, service, region=None, account=None, checked=True):
        """A client of the story's account, or of another one. One that is not
        checked sends what botocore itself would refuse."""
        return self.cloud.client(service, account or self.account, region or self.cloud.region, checked)

    def is_(self, rule, got, want):
        """Got must equal want."""
        self.result.add(self.name, rule, want == got, repr(got), repr(want))

    def answers(self, rule, got, want):
        """The answer must be want, with no member more."""
        self.is_(rule, answer(got), want)

    def has(self, rule, got, want):
        """Got must have the members of want, and may have more."""
        self.is_(rule, {k: got.get(k, "<absent>") for k in want}, want)

    def lacks(self, rule, got, *members):
        """Got must not have the members."""
        self.is_(rule, [m for m in members if m in got], [])

    def refused(self, rule, want, call, *, status=400, **parameters):
        """The call must be refused with the error want = (code, message)."""
        try:
            got = call(**parameters)
        except ClientError as e:
            error = e.response["Error"]
            self.is_(
                rule,
                (error["Code"], error["Message"], e.response["ResponseMetadata"]["HTTPStatusCode"]),
                (*want, status),
            )
        else:
            self.is_(rule, f"an answer: {answer(got)}", want)

    def until(self, rule, look, want, seconds=20):
        """What look returns must become equal to want."""
        end = time.monotonic() + seconds
        while (got := look()) != want and time.monotonic() < end:
            time.sleep(0.05)
        self.is_(rule, got, want)
        return got


def main(cloud, only, threads, last=()):
    """Runs the stories, several at once, and the last ones after them; prints the
    count, and ends the program."""
    result, began = Result(), time.monotonic()

    def run(function):
        name = function.__name__
        try:
            function(Story(name, result, cloud))
        except Exception:
            result.add(name, "the story comes to its end", False, traceback.format_exc(), "no error")

    chosen = [f for f in stories if not only or only[0] in f.__name__]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, chosen))
    if not only:
        for function in last:
            run(function)
    print(f"{result.checks} checks in {len(chosen)} stories, {result.failures} failed, {time.monotonic() - began:.0f} s")
    sys.exit(1 if result.failures else 0)

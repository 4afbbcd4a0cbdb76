"""CloudWatch Logs: groups, streams, events, tokens and filter patterns."""

import time

from check import INT, Matcher, like, story
from cloud import put, rule_to

NO_GROUP = ("ResourceNotFoundException", "The specified log group does not exist.")
NO_STREAM = ("ResourceNotFoundException", "The specified log stream does not exist.")
GROUP = "/aws/events/orders"
MILLIS = Matcher("unix milliseconds of these minutes", lambda v: type(v) is int and abs(time.time() * 1000 - v) < 300_000)


def stream(t, group=GROUP, name="s"):
    logs = t.client("logs")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName=name)
    return logs


@story
def log_groups(t):
    logs, unchecked = t.client("logs"), t.client("logs", checked=False)
    t.answers("CreateLogGroup answers nothing", logs.create_log_group(logGroupName=GROUP), {})
    arn = f"arn:aws:logs:us-east-1:{t.account}:log-group:{GROUP}"
    [group] = logs.describe_log_groups()["logGroups"]
    t.has("a group is described", group, {"logGroupName": GROUP, "arn": arn + ":*", "creationTime": MILLIS, "storedBytes": INT, "metricFilterCount": 0})
    t.lacks("without a retention", group, "retentionInDays", "kmsKeyId")
    t.answers("PutRetentionPolicy answers nothing", logs.put_retention_policy(logGroupName=GROUP, retentionInDays=7), {})
    t.is_("then with one", logs.describe_log_groups(logGroupNamePrefix="/aws")["logGroups"][0]["retentionInDays"], 7)
    for i in range(5):
        logs.create_log_group(logGroupName=f"page-{i}")
    pages = list(logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="page-", PaginationConfig={"PageSize": 2}))
    t.is_("groups come in pages", [[g["logGroupName"][-1] for g in p["logGroups"]] for p in pages], [["0", "1"], ["2", "3"], ["4"]])
    logs.create_log_stream(logGroupName=GROUP, logStreamName="b")
    logs.create_log_stream(logGroupName=GROUP, logStreamName="a 流")
    streams = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    t.is_("streams are listed by name", [s["logStreamName"] for s in streams], ["a 流", "b"])
    t.has("with their ARNs", streams[1], {"arn": f"{arn}:log-stream:b", "creationTime": MILLIS, "storedBytes": 0})
    for rule, want, call, more in (
        ("a group is made once", ("ResourceAlreadyExistsException", "The specified log group already exists"), logs.create_log_group, {"logGroupName": GROUP}),
        ("a stream too", ("ResourceAlreadyExistsException", "The specified log stream already exists"), logs.create_log_stream, {"logGroupName": GROUP, "logStreamName": "b"}),
        ("a missing group has no streams", NO_GROUP, logs.describe_log_streams, {"logGroupName": "nix"}),
        ("and takes none", NO_GROUP, logs.create_log_stream, {"logGroupName": "nix", "logStreamName": "s"}),
        ("nor is deleted", NO_GROUP, logs.delete_log_group, {"logGroupName": "nix"}),
        ("a missing stream has no events", NO_STREAM, logs.get_log_events, {"logGroupName": GROUP, "logStreamName": "nix"}),
        ("and takes none", NO_STREAM, logs.put_log_events, {"logGroupName": GROUP, "logStreamName": "nix", "logEvents": [{"timestamp": 1, "message": "m"}]}),
        ("a retention is one of AWS's", ("InvalidParameterException", like("Invalid retention value.*")), logs.put_retention_policy, {"logGroupName": GROUP, "retentionInDays": 2}),
        (
            "a name has AWS's characters",
            (
                "InvalidParameterException",
                "1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: "
                r"Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+",
            ),
            unchecked.create_log_group, {"logGroupName": "a b"},
        ),
    ):
        t.refused(rule, want, call, **more)
    logs.delete_log_stream(logGroupName=GROUP, logStreamName="b")
    t.is_("a stream is deleted", len(logs.describe_log_streams(logGroupName=GROUP)["logStreams"]), 1)
    logs.delete_log_group(logGroupName=GROUP)
    t.is_("a group is deleted", logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"], [])


@story
def log_events(t):
    logs, now = stream(t), int(time.time() * 1000)
    where = {"logGroupName": GROUP, "logStreamName": "s"}
    first = [{"timestamp": now - 1000 + i, "message": f"{i}: 上海 🛒"} for i in range(10)]
    got = logs.put_log_events(**where, logEvents=first)
    t.lacks("nothing is rejected of good events", got, "rejectedLogEventsInfo")
    day = 24 * 3600 * 1000
    t.has(
        "what is too old or too new is told by index",
        logs.put_log_events(
            **where, sequenceToken="any",
            logEvents=[{"timestamp": now - 15 * day + i, "message": "old"} for i in range(2)],
        ),
        {"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 2}},
    )
    t.has(
        "and the others are taken", logs.put_log_events(**where, logEvents=[{"timestamp": now, "message": "last"}, {"timestamp": now + 3 * 3600 * 1000, "message": "new"}]),
        {"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 1}},
    )
    t.refused(
        "a batch is in order of time", ("InvalidParameterException", "Log events in a single PutLogEvents request must be in chronological order."),
        logs.put_log_events, **where, logEvents=[{"timestamp": now, "message": "b"}, {"timestamp": now - 1, "message": "a"}],
    )
    t.refused(
        "and spans a day", ("InvalidParameterException", "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."),
        logs.put_log_events, **where, logEvents=[{"timestamp": now - day - 1, "message": "b"}, {"timestamp": now, "message": "a"}],
    )
    want = [f"{i}: 上海 🛒" for i in range(10)] + ["last"]
    page = logs.get_log_events(**where, limit=4, startFromHead=True)
    t.is_("events come from the head", [e["message"] for e in page["events"]], want[:4])
    t.is_("with times in milliseconds", page["events"][0], {"timestamp": now - 1000, "message": want[0], "ingestionTime": MILLIS})
    after = logs.get_log_events(**where, limit=4, nextToken=page["nextForwardToken"])
    t.is_("a token leads on", [e["message"] for e in after["events"]], want[4:8])
    back = logs.get_log_events(**where, limit=4, nextToken=after["nextBackwardToken"])
    t.is_("and back", [e["message"] for e in back["events"]], want[:4])
    end = logs.get_log_events(**where, limit=4, nextToken=after["nextForwardToken"])
    end = logs.get_log_events(**where, limit=4, nextToken=end["nextForwardToken"])
    t.is_(
        "at the end the token stays", (end["events"], logs.get_log_events(**where, nextToken=end["nextForwardToken"])["nextForwardToken"]),
        ([], end["nextForwardToken"]),
    )
    t.is_("without startFromHead the last ones come", [e["message"] for e in logs.get_log_events(**where, limit=2)["events"]], want[-2:])
    t.refused("a token that is none", ("InvalidParameterException", "The specified nextToken is invalid."), logs.get_log_events, **where, nextToken="nix")


@story
def log_filters(t):
    logs, now = stream(t), int(time.time() * 1000)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="other")
    messages = ['{"level":"ERROR","n":5,"city":"上海"}', '{"level":"INFO","n":50}', "plain ERROR text", "plain other text", '127.0.0.1 - "GET /" 404 12']
    for i, m in enumerate(messages):
        logs.put_log_events(logGroupName=GROUP, logStreamName="s" if i % 2 == 0 else "other", logEvents=[{"timestamp": now + i, "message": m}])

    def found(**more):
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2}, **more)
        return [messages.index(e["message"]) for p in pages for e in p["events"]]

    for pattern, want in (
        ("", [0, 1, 2, 3, 4]), ("ERROR", [0, 2]), ("plain -ERROR", [3]), ("?INFO ?other", [1, 3]), ('"ERROR text"', [2]), ('{ $.level = "ERROR" }', [0]),
        ("{ $.n > 5 }", [1]), ('{ $.n = 5 || $.level = "INFO" }', [0, 1]), ('{ $.city = "上*" }', [0]), ("{ $.city NOT EXISTS }", [1]),
        ("[ip, user, request, status = 4*, size]", [4]), ("%ERR[A-Z]+%", [0, 2]),
    ):
        t.is_(f"filter pattern {pattern!r}", found(filterPattern=pattern), want)
    t.is_("events of chosen streams", found(logStreamNames=["other"]), [1, 3])
    t.is_("events of a time, its end included", found(startTime=now + 1, endTime=now + 3), [1, 2, 3])
    event = logs.filter_log_events(logGroupName=GROUP, limit=1)["events"][0]
    t.is_("an event tells its stream and times", event, {"logStreamName": "s", "timestamp": now, "message": messages[0], "ingestionTime": MILLIS, "eventId": like(".+")})
    t.refused("a pattern that is none", ("InvalidParameterException", like("Invalid filter pattern.*")), logs.filter_log_events, logGroupName=GROUP, filterPattern='{ $.a = ')


@story
def rule_to_log_group(t):
    logs = t.client("logs")
    logs.create_log_group(logGroupName=GROUP)
    events = rule_to(t, f"arn:aws:logs:us-east-1:{t.account}:log-group:{GROUP}")
    [event_id] = put(events, ("shop", "order", {"城市": "上海"}))

    def logged():
        return [e["message"] for e in logs.filter_log_events(logGroupName=GROUP)["events"]]

    t.until("a rule writes the event, at its own time", logged, [like(r'\{"version":"0","id":"' + event_id + r'".*"detail":\{"城市":"上海"\}\}')])
    events.put_targets(
        Rule="r",
        Targets=[
            {
                "Id": "t", "Arn": f"arn:aws:logs:us-east-1:{t.account}:log-group:{GROUP}",
                "InputTransformer": {
                    "InputPathsMap": {"at": "$.time", "type": "$.detail-type"}, "InputTemplate": '{"timestamp":<at>,"message":"a <type> came"}',
                },
            }
        ],
    )
    put(events, ("shop", "return", {}))
    t.until("or what a template makes of it", lambda: logged()[1:], ["a return came"])

"""PutEvents: what is taken, what is refused, and the event that arrives."""

import datetime
import json

from check import UUID, Matcher, like, story
from cloud import ROLE, Queue, rule_to

GOOD = {"Source": "shop", "DetailType": "order 订单", "Detail": '{"id": 1}'}
TIME = like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def without(member):
    return {k: v for k, v in GOOD.items() if k != member}


def needed(member):
    return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Parameter {member} is not valid. Reason: {member} is a required argument."}


MALFORMED = {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}


@story
def put_events(t):
    events = t.client("events")
    t.answers("an entry that is taken has an id", events.put_events(Entries=[GOOD]), {"FailedEntryCount": 0, "Entries": [{"EventId": UUID}]})
    got = events.put_events(
        Entries=[
            GOOD, without("Source"), without("DetailType"), without("Detail"), {**GOOD, "Detail": "no JSON"}, {**GOOD, "Detail": "[]"},
            {**GOOD, "Detail": '"text"'}, {**GOOD, "Detail": "{"}, {**GOOD, "Source": "aws.ec2"}, GOOD,
        ]
    )
    ok = {"EventId": UUID}
    t.answers(
        "entries are taken or refused each by itself, in order", got,
        {
            "FailedEntryCount": 8,
            "Entries": [
                ok, needed("Source"), needed("DetailType"), needed("Detail"), MALFORMED, MALFORMED, MALFORMED, MALFORMED,
                {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}, ok,
            ],
        },
    )
    t.answers("an empty entry lacks its source", events.put_events(Entries=[{}]), {"FailedEntryCount": 1, "Entries": [needed("Source")]})
    t.answers(
        "an unknown bus is no error", events.put_events(Entries=[{**GOOD, "EventBusName": "nix"}]), {"FailedEntryCount": 0, "Entries": [{"EventId": UUID}]}
    )
    one = (
        "PutEventsRequestEntry(time=null, source=shop, resources=null, detailType=order 订单, detail={\"id\": 1}, eventBusName=null, "
        "traceHeader=null, kmsKeyIdentifier=null, internalMetadata=null)"
    )
    t.refused(
        "eleven entries are too many",
        (
            "ValidationException",
            f"1 validation error detected: Value '[{', '.join([one] * 11)}]' at 'entries' failed to satisfy constraint: "
            "Member must have length less than or equal to 10",
        ),
        events.put_events, Entries=[GOOD] * 11,
    )
    half = {**GOOD, "Detail": json.dumps({"x": "y" * 600_000})}
    t.refused(
        "the entries have a mebibyte together", ("ValidationException", "Total size of the entries in the request is over the limit."),
        events.put_events, Entries=[half, half],
    )
    t.answers("one of them fits", events.put_events(Entries=[half]), {"FailedEntryCount": 0, "Entries": [{"EventId": UUID}]})


@story
def event_envelope(t):
    q = Queue(t)
    events = rule_to(t, q.arn)

    def deliver(**entry):
        got = events.put_events(Entries=[{**GOOD, **entry}])
        bodies = q.bodies()
        return got["Entries"][0]["EventId"], bodies[0] if bodies else "{}"

    event_id, body = deliver(Detail='{ "城市" : "上海", "icon":"🛒", "b":1, "a":[1, 2] , "f":1.50}', Resources=["arn:a", "b"])
    event = json.loads(body)
    t.is_(
        "the envelope has AWS's members in AWS's order", list(event),
        ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"],
    )
    t.is_(
        "and what was put", event,
        {
            "version": "0", "id": event_id, "detail-type": "order 订单", "source": "shop", "account": t.account, "time": TIME, "region": "us-east-1",
            "resources": ["arn:a", "b"], "detail": {"城市": "上海", "icon": "🛒", "b": 1, "a": [1, 2], "f": 1.5},
        },
    )
    t.is_("it is compact, its detail in its own order and unescaped", '"detail":{"城市":"上海","icon":"🛒","b":1,"a":[1,2],"f":1.5' in body, True)
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
    t.is_("its time is that of the call", age, Matcher("less than a minute", lambda v: abs(v.total_seconds()) < 60))
    t.is_("resources that are absent are none", json.loads(deliver()[1]).get("resources"), [])

    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    for rule, given, want in (
        ("a time with a fraction loses it", datetime.datetime(2026, 1, 2, 3, 4, 5, 999000, datetime.timezone.utc), "2026-01-02T03:04:05Z"),
        ("a time of another zone comes in UTC", datetime.datetime(2026, 1, 2, 3, 4, 5, 0, tokyo), "2026-01-01T18:04:05Z"),
        ("a date is its midnight", "2022-01-01", "2022-01-01T00:00:00Z"),
        ("a time as text", "2022-01-01T01:02:03.5+02:00", "2021-12-31T23:02:03Z"),
        ("a time before 1970", datetime.datetime(1969, 12, 31, 23, 59, 58, tzinfo=datetime.timezone.utc), "1969-12-31T23:59:58Z"),
    ):
        t.is_(rule, json.loads(deliver(Time=given)[1]).get("time"), want)


@story
def several_rules(t):
    one, two = Queue(t, "one"), Queue(t, "two")
    events = rule_to(t, one.arn, rule="one")
    rule_to(t, two.arn, rule="two", pattern='{"detail":{"id":[{"numeric":[">",0]}]}}')
    events.put_targets(Rule="two", Targets=[{"Id": "again", "Arn": two.arn}])
    event_id = events.put_events(Entries=[GOOD])["Entries"][0]["EventId"]
    t.is_("each rule that matches delivers, and each of its targets", [e["id"] for e in one.events() + two.events(2)], [event_id] * 3)
    events.disable_rule(Name="one")
    events.put_events(Entries=[GOOD])
    t.is_("a disabled rule does not", (len(two.messages(2)), len(one.messages(1, seconds=0.2))), (2, 0))
    fifo = Queue(t, "q.fifo", attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
    rule_to(t, fifo.arn, rule="fifo", SqsParameters={"MessageGroupId": "$.detail.id"})
    events.put_events(Entries=[GOOD])
    t.is_("a FIFO queue gets its group from the event", [m["Attributes"]["MessageGroupId"] for m in fifo.messages()], ["1"])
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    events.put_events(Entries=[{**GOOD, "Detail": '{"id":0}', "Source": "traced", "TraceHeader": trace}])
    rule_to(t, one.arn, rule="traced", pattern='{"source":["traced"]}')
    events.put_events(Entries=[{**GOOD, "Source": "traced", "TraceHeader": trace}])
    got = one.messages()
    t.is_("the trace header goes along as AWSTraceHeader", [m["Attributes"].get("AWSTraceHeader") for m in got], [trace])


@story
def bus_to_bus(t):
    """Events that cross buses and regions."""
    events, abroad = t.client("events"), t.client("events", "eu-west-1")
    events.create_event_bus(Name="next")
    here, there = Queue(t, "here"), Queue(t, "there", region="eu-west-1")
    arn = f"arn:aws:events:us-east-1:{t.account}:event-bus/next"
    rule_to(t, arn, rule="local", RoleArn=ROLE(t.account))
    rule_to(t, f"arn:aws:events:eu-west-1:{t.account}:event-bus/default", rule="far", RoleArn=ROLE(t.account))
    rule_to(t, here.arn, rule="here", bus="next")
    abroad.put_rule(Name="there", EventPattern='{"source":["shop"]}')
    abroad.put_targets(Rule="there", Targets=[{"Id": "t", "Arn": there.arn}])
    event_id = events.put_events(Entries=[GOOD])["Entries"][0]["EventId"]
    local, far = here.events(), there.events()
    t.is_("within a region an event keeps its id", [(e["id"], e["account"], e["region"]) for e in local], [(event_id, t.account, "us-east-1")])
    t.is_("in another it has a new one", [(e["id"] == event_id, e["account"], e["region"]) for e in far], [(False, t.account, "us-east-1")])

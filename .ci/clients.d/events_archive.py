"""Archives and replays, control plane and the events that come again."""

import datetime

from check import INT, SECOND, TIME, UUID, story
from cloud import Queue, put, rule_to
from events_bus import invalid, missing_bus, pattern_rule
from events_connection import BASIC, destination

UTC = datetime.timezone.utc
ARCHIVE_NAME = r"[\.\-_A-Za-z0-9]+"


def at(minute, second=0):
    return datetime.datetime(2026, 1, 2, 3, minute, second, tzinfo=UTC)


@story
def archives(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    bus = events.create_event_bus(Name="orders")["EventBusArn"]
    arn = f"arn:aws:events:us-east-1:{t.account}:archive/"
    created = {"State": "ENABLED", "CreationTime": SECOND}
    t.answers("an archive is ENABLED at once", events.create_archive(ArchiveName="all", EventSourceArn=bus), {"ArchiveArn": arn + "all", **created})
    shown = {"ArchiveName": "all", "EventSourceArn": bus, "RetentionDays": 0, "SizeBytes": 0, "EventCount": 0, **created}
    t.answers("DescribeArchive tells numbers, and no absent member", events.describe_archive(ArchiveName="all"), {"ArchiveArn": arn + "all", **shown})
    pattern = ' {"source" : ["shop"], "detail":{"状态":["已付款"]} } '
    events.create_archive(ArchiveName="paid", EventSourceArn=bus, Description="订单 🚚", EventPattern=pattern, RetentionDays=30)
    t.has("what was given is shown as it was", events.describe_archive(ArchiveName="paid"), {"Description": "订单 🚚", "EventPattern": pattern, "RetentionDays": 30})
    t.answers(
        "ListArchives leaves out ARN, description and pattern", events.list_archives(),
        {"Archives": [shown, {**shown, "ArchiveName": "paid", "RetentionDays": 30}]},
    )
    for rule, filters, want in (
        ("by prefix", {"NamePrefix": "p"}, ["paid"]), ("by bus", {"EventSourceArn": bus}, ["all", "paid"]), ("by state", {"State": "DISABLED"}, []),
    ):
        t.is_(f"archives are listed {rule}", [a["ArchiveName"] for a in events.list_archives(**filters)["Archives"]], want)
    first = events.list_archives(Limit=1)
    rest = events.list_archives(Limit=100, NextToken=first["NextToken"])
    t.is_("and in pages", ([a["ArchiveName"] for p in (first, rest) for a in p["Archives"]], "NextToken" in rest), (["all", "paid"], False))

    t.answers("UpdateArchive", events.update_archive(ArchiveName="paid", RetentionDays=7), {"ArchiveArn": arn + "paid", **created})
    t.has("keeps what it does not name", events.describe_archive(ArchiveName="paid"), {"Description": "订单 🚚", "RetentionDays": 7})
    events.update_archive(ArchiveName="paid", Description="", EventPattern="")
    t.lacks("and clears what it names empty", events.describe_archive(ArchiveName="paid"), "Description", "EventPattern")

    missing = ("ResourceNotFoundException", "Archive nix does not exist.")
    t.refused(
        "an update changes something, which is checked first",
        ("ValidationException", "At least one of EventPattern, RetentionDays or Description must be provided."), events.update_archive, ArchiveName="nix",
    )
    t.refused("a missing archive is not updated", missing, events.update_archive, ArchiveName="nix", RetentionDays=1)
    t.refused("nor described", missing, events.describe_archive, ArchiveName="nix")
    t.refused("nor deleted", missing, events.delete_archive, ArchiveName="nix")
    t.refused("an archive is made once", ("ResourceAlreadyExistsException", "Archive all already exists."), events.create_archive, ArchiveName="all", EventSourceArn=bus)
    t.refused("of a bus that is there", missing_bus("nix"), events.create_archive, ArchiveName="a", EventSourceArn=bus[:-6] + "nix")
    t.refused("which is also listed by", missing_bus("nix"), events.list_archives, EventSourceArn=bus[:-6] + "nix")
    t.refused(
        "of a bus and nothing else", ("ValidationException", "Parameter EventSourceArn is not valid. Reason: Must contain an event bus ARN."),
        events.create_archive, ArchiveName="a", EventSourceArn=f"arn:aws:events:us-east-1:{t.account}:rule/r",
    )
    t.refused(
        "one filter at a time", ("ValidationException", "At most one filter is allowed for ListArchives. Use either : State, EventSourceArn, or NamePrefix."),
        events.list_archives, NamePrefix="a", State="ENABLED",
    )
    t.refused(
        "a name has 48 characters", invalid((f"'{'a' * 49}'", "archiveName", "Member must have length less than or equal to 48")),
        unchecked.create_archive, ArchiveName="a" * 49, EventSourceArn=bus,
    )
    t.refused("of AWS's", invalid(("'a b'", "archiveName", pattern_rule(ARCHIVE_NAME))), unchecked.create_archive, ArchiveName="a b", EventSourceArn=bus)
    t.refused(
        "a pattern is not {}",
        ("InvalidEventPatternException", 'Event pattern is not valid. Reason: Empty objects are not allowed\n at [Source: (String)"{}"; line: 1, column: 3]'),
        events.create_archive, ArchiveName="a", EventSourceArn=bus, EventPattern="{}",
    )
    t.refused("archives keep their bus", ("ValidationException", "EventBus can't be deleted since it has rules."), events.delete_event_bus, Name="orders")
    t.answers("DeleteArchive answers nothing", events.delete_archive(ArchiveName="all"), {})
    events.delete_archive(ArchiveName="paid")
    t.answers("with its archives a bus can go", events.delete_event_bus(Name="orders"), {})


def start(t, name, archive, first, last, bus="default", **destination):
    """The parameters of a replay."""
    arn = f"arn:aws:events:us-east-1:{t.account}:"
    return {
        "ReplayName": name, "EventSourceArn": f"{arn}archive/{archive}", "EventStartTime": first, "EventEndTime": last,
        "Destination": {"Arn": f"{arn}event-bus/{bus}", **destination},
    }


@story
def replays(t):
    events = t.client("events")
    bus = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    events.create_archive(ArchiveName="shop", EventSourceArn=bus, EventPattern='{"source":["shop"]}')
    one, two = Queue(t, "one"), Queue(t, "two")
    rule_to(t, one.arn, rule="one")
    rule_to(t, two.arn, rule="two")
    entries = [
        {"Source": "shop", "DetailType": "order 🛒", "Detail": f'{{"n":{i}}}', "Time": at(i), "Resources": ["arn:r"]} for i in range(6)
    ]
    events.put_events(Entries=[*entries, {**entries[0], "Source": "other"}])
    originals = {e["detail"]["n"]: e for e in one.events(6)}
    two.messages(6)
    t.until("the archive counts what its pattern lets in", lambda: events.describe_archive(ArchiveName="shop")["EventCount"], 6)
    size = events.describe_archive(ArchiveName="shop")["SizeBytes"]
    t.is_("and how large it is", (size, size > 600), (INT, True))

    arn = f"arn:aws:events:us-east-1:{t.account}:replay/again"
    only = {"FilterArns": [f"arn:aws:events:us-east-1:{t.account}:rule/one"]}
    asked = start(t, "again", "shop", at(1), at(4), **only)
    t.answers(
        "a replay is STARTING", events.start_replay(**asked, Description="noch einmal 🔁"), {"ReplayArn": arn, "State": "STARTING", "ReplayStartTime": SECOND}
    )
    got = one.events(3)
    t.is_("it sends the events from the start on and before the end", sorted(e["detail"]["n"] for e in got), [1, 2, 3])
    for e in got:
        was = originals[e["detail"]["n"]]
        t.is_(
            "a replayed event is as it was, but for its id and the replay's name", e, {**was, "id": UUID, "replay-name": "again"}
        )
        t.is_("its id is a new one, and the name stands behind the region", (e["id"] != was["id"], list(e)[6:8]), (True, ["region", "replay-name"]))
    t.until("it is COMPLETED", lambda: events.describe_replay(ReplayName="again")["State"], "COMPLETED")
    t.answers(
        "DescribeReplay tells all of it in whole seconds", events.describe_replay(ReplayName="again"),
        {
            "ReplayName": "again", "ReplayArn": arn, "Description": "noch einmal 🔁", "State": "COMPLETED", "EventSourceArn": asked["EventSourceArn"],
            "Destination": asked["Destination"], "EventStartTime": at(1), "EventEndTime": at(4), "EventLastReplayedTime": at(3),
            "ReplayStartTime": SECOND, "ReplayEndTime": SECOND,
        },
    )
    t.is_("rules that are not named get none", two.messages(1, seconds=0.5), [])
    t.until("replayed events are not archived again", lambda: events.describe_archive(ArchiveName="shop")["EventCount"], 6)
    listed = events.list_replays()
    t.answers(
        "ListReplays leaves out ARN, description and destination", listed,
        {
            "Replays": [
                {
                    "ReplayName": "again", "EventSourceArn": asked["EventSourceArn"], "State": "COMPLETED", "EventStartTime": at(1), "EventEndTime": at(4),
                    "EventLastReplayedTime": at(3), "ReplayStartTime": SECOND, "ReplayEndTime": SECOND,
                }
            ]
        },
    )
    t.refused("a name is used once", ("ResourceAlreadyExistsException", "Replay again already exists."), events.start_replay, **asked)
    t.refused(
        "what has ended cannot be cancelled", ("IllegalStatusException", "Replay again is not in a valid state for this operation."),
        events.cancel_replay, ReplayName="again",
    )
    events.start_replay(**start(t, "all", "shop", at(0), at(59)))
    t.is_("without FilterArns all rules get the events", (len(one.messages(6)), len(two.messages(6))), (6, 6))
    tokyo = datetime.timezone(datetime.timedelta(hours=9))
    events.start_replay(**start(t, "zone", "shop", at(2).astimezone(tokyo).replace(microsecond=500_000), at(3).replace(microsecond=999_000)))
    t.has("times of other zones and with fractions come whole", events.describe_replay(ReplayName="zone"), {"EventStartTime": at(2), "EventEndTime": at(3)})
    for rule, filters, want in (
        ("by prefix", {"NamePrefix": "al"}, ["all"]), ("by archive", {"EventSourceArn": asked["EventSourceArn"]}, ["again", "all", "zone"]), ("by state", {"State": "FAILED"}, []),
    ):
        t.is_(f"replays are listed {rule}", [r["ReplayName"] for r in events.list_replays(**filters)["Replays"]], want)
    page = events.list_replays(Limit=1)
    t.is_("and in pages", [r["ReplayName"] for r in events.list_replays(NextToken=page["NextToken"])["Replays"]], ["all", "zone"])


@story
def cancelled_replay(t):
    events = t.client("events")
    bus = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    events.create_archive(ArchiveName="all", EventSourceArn=bus, EventPattern='{"source":["shop"]}')
    for _ in range(10):
        put(events, *[("shop", "x", {})] * 10)
    t.until("events are archived", lambda: events.describe_archive(ArchiveName="all")["EventCount"], 100)
    # A replay waits for targets that lag, so this one takes seconds.
    destination(t, "slow", "/slowly", "BASIC", BASIC)
    events.update_api_destination(Name="slow", InvocationRateLimitPerSecond=1)
    now, hour = datetime.datetime.now(UTC), datetime.timedelta(hours=1)
    events.start_replay(**start(t, "r", "all", now - hour, now + hour))
    t.until("it is RUNNING", lambda: events.describe_replay(ReplayName="r")["State"], "RUNNING")
    t.lacks("and has no end", events.describe_replay(ReplayName="r"), "ReplayEndTime")
    got = events.cancel_replay(ReplayName="r")
    t.answers(
        "a replay that is cancelled is CANCELLING", got, {"ReplayArn": f"arn:aws:events:us-east-1:{t.account}:replay/r", "State": "CANCELLING"}
    )
    t.until("and then CANCELLED", lambda: events.describe_replay(ReplayName="r")["State"], "CANCELLED")
    t.has("with an end", events.describe_replay(ReplayName="r"), {"ReplayStartTime": TIME, "ReplayEndTime": TIME})


@story
def refused_replays(t):
    events = t.client("events")
    orders = events.create_event_bus(Name="orders")["EventBusArn"]
    events.create_archive(ArchiveName="all", EventSourceArn=orders)
    good = start(t, "r", "all", at(1), at(2), bus="orders")
    for rule, want, change in (
        ("of an archive that is there", "Parameter EventSourceArn is not valid. Reason: Archive nix does not exist.", {"EventSourceArn": good["EventSourceArn"][:-3] + "nix"}),
        (
            "to the archive's own bus", "Parameter Destination.Arn is not valid. Reason: Cross event bus replay is not permitted.",
            {"Destination": {"Arn": orders[:-6] + "default"}},
        ),
        ("from before its end", "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.", {"EventStartTime": at(3)}),
        ("for some time", "Parameter EventEndTime is not valid. Reason: EventStartTime must be before EventEndTime.", {"EventStartTime": at(2)}),
        ("to a bus", "Parameter Destination.Arn is not valid. Reason: Must contain an event bus ARN.", {"Destination": {"Arn": good["EventSourceArn"]}}),
    ):
        t.refused(f"a replay is {rule}", ("ValidationException", want), events.start_replay, **{**good, **change})
    t.refused("to a bus that is there", missing_bus("nix"), events.start_replay, **{**good, "Destination": {"Arn": orders[:-6] + "nix"}})
    missing = ("ResourceNotFoundException", "Replay r does not exist.")
    t.refused("nothing came of them", missing, events.describe_replay, ReplayName="r")
    t.refused("a missing replay cannot be cancelled", missing, events.cancel_replay, ReplayName="r")
    t.refused(
        "one filter at a time", ("ValidationException", "At most one filter is allowed for ListReplays. Use either : State, EventSourceArn, or NamePrefix."),
        events.list_replays, NamePrefix="a", State="FAILED",
    )

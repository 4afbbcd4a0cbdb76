"""Rules: their life, schedules, pages and managed ones."""

from check import story
from cloud import ROLE, tells
from events_bus import invalid, missing_bus, pattern_rule

PATTERN = '{"source":["shop"]}'
NAME = r"[\.\-_A-Za-z0-9]+"


def missing_rule(name, bus="default"):
    return "ResourceNotFoundException", f"Rule {name} does not exist on EventBus {bus}."


@story
def rules(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    arn = f"arn:aws:events:us-east-1:{t.account}:rule/"
    spaced = ' {"source" : [ "my.app", "机器 🚀" ]} '
    by = {"CreatedBy": t.account} if tells(events, "DescribeRule", "CreatedBy") else {}
    events.create_event_bus(Name="orders")
    t.answers(
        "PutRule answers with the ARN", events.put_rule(Name="r", EventPattern=spaced, Description="订单 🚚", RoleArn=ROLE(t.account)), {"RuleArn": arn + "r"}
    )
    t.answers(
        "a rule is described with the very text of its pattern", events.describe_rule(Name="r"),
        {
            "Name": "r", "Arn": arn + "r", "EventPattern": spaced, "State": "ENABLED", "Description": "订单 🚚", "RoleArn": ROLE(t.account),
            "EventBusName": "default", **by,
        },
    )
    t.answers(
        "a rule of a custom bus has the bus in its ARN", events.put_rule(Name="r", EventBusName="orders", EventPattern=PATTERN, State="DISABLED"),
        {"RuleArn": arn + "orders/r"},
    )
    t.answers(
        "the bus may be an ARN, and absent members are absent",
        events.describe_rule(Name="r", EventBusName=f"arn:aws:events:us-east-1:{t.account}:event-bus/orders"),
        {"Name": "r", "Arn": arn + "orders/r", "EventPattern": PATTERN, "State": "DISABLED", "EventBusName": "orders", **by},
    )
    events.put_targets(Rule="r", Targets=[{"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{t.account}:q"}])
    t.answers("DisableRule answers nothing", events.disable_rule(Name="r"), {})
    t.answers("and may be repeated", events.disable_rule(Name="r"), {})
    t.has("a rule is disabled", events.describe_rule(Name="r"), {"State": "DISABLED"})
    events.put_rule(Name="r", EventPattern=PATTERN)
    t.answers(
        "putting a rule again replaces all of it, and enables it", events.describe_rule(Name="r"),
        {"Name": "r", "Arn": arn + "r", "EventPattern": PATTERN, "State": "ENABLED", "EventBusName": "default", **by},
    )
    t.is_("but keeps its targets", [x["Id"] for x in events.list_targets_by_rule(Rule="r")["Targets"]], ["q"])
    events.disable_rule(Name="r")
    t.answers("EnableRule answers nothing", events.enable_rule(Name="r"), {})
    t.has("a rule is enabled", events.describe_rule(Name="r"), {"State": "ENABLED"})
    t.answers(
        "ListRules says less than DescribeRule", events.list_rules(EventBusName="orders"),
        {"Rules": [{"Name": "r", "Arn": arn + "orders/r", "EventPattern": PATTERN, "State": "DISABLED", "EventBusName": "orders"}]},
    )
    reads = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
    events.put_rule(Name="reads", EventPattern=PATTERN, State=reads)
    t.has("a rule can take in read-only calls", events.describe_rule(Name="reads"), {"State": reads})

    t.refused("a rule with targets stays", ("ValidationException", "Rule can't be deleted since it has targets."), events.delete_rule, Name="r")
    events.remove_targets(Rule="r", Ids=["q"])
    t.answers("DeleteRule answers nothing", events.delete_rule(Name="r"), {})
    t.answers("deleting what is not there succeeds", events.delete_rule(Name="r"), {})
    t.refused("but not on a missing bus", missing_bus("nix"), events.delete_rule, Name="r", EventBusName="nix")
    for call in (events.describe_rule, events.enable_rule, events.disable_rule):
        t.refused(f"{call.__name__} of a missing rule", missing_rule("r"), call, Name="r")
        t.refused(f"{call.__name__} on a custom bus", missing_rule("nix", "orders"), call, Name="nix", EventBusName="orders")
        t.refused(f"{call.__name__} on a missing bus", missing_bus("nix"), call, Name="r", EventBusName="nix")
    t.refused("ListTargetsByRule of a missing rule", missing_rule("r"), events.list_targets_by_rule, Rule="r")
    t.refused("RemoveTargets of a missing rule", missing_rule("r"), events.remove_targets, Rule="r", Ids=["q"])
    t.refused("ListRules of a missing bus", missing_bus("nix"), events.list_rules, EventBusName="nix")
    t.refused("PutRule on a missing bus", missing_bus("nix"), events.put_rule, Name="r", EventBusName="nix", EventPattern=PATTERN)
    neither = ("ValidationException", "Parameter(s) EventPattern or ScheduleExpression must be specified.")
    t.refused("a rule has a pattern or a schedule", neither, events.put_rule, Name="r")
    t.refused("and not two empty ones", neither, unchecked.put_rule, Name="r", EventPattern="", ScheduleExpression="")
    t.refused("a name has AWS's characters", invalid(("'a b'", "name", pattern_rule(NAME))), unchecked.put_rule, Name="a b", EventPattern=PATTERN)
    t.refused(
        "a name has 64 characters", invalid((f"'{'n' * 65}'", "name", "Member must have length less than or equal to 64")),
        unchecked.put_rule, Name="n" * 65, EventPattern=PATTERN,
    )
    t.refused("a name is needed", invalid(("null", "name", "Member must not be null")), unchecked.describe_rule)
    t.refused(
        "a state is one of AWS's",
        invalid(("'ON'", "state", "Member must satisfy enum value set: [ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]")),
        unchecked.put_rule, Name="r", EventPattern=PATTERN, State="ON",
    )
    t.refused("nothing came of what was refused", missing_rule("r"), events.describe_rule, Name="r")


GOOD_SCHEDULES = (
    "rate(1 minute)", "rate(1 hour)", "rate(1 day)", "rate(5 minutes)", "rate(2 hours)", "rate(10 days)",
    "cron(0 2 ? * SAT *)", "cron(5,35 14 * * ? *)", "cron(15 10 ? * 6L 2002-2005)", "cron(0 2 ? * SAT#3 *)", "cron(* * ? * SAT#3 *)",
    "cron(0/5 5 ? JAN 1-5 2022)", "cron(0/15 * * * ? *)", "cron(0 18 ? * MON-FRI *)", "cron(*/15 * * * ? *)", "cron(0-30/10 * * * ? *)",
    "cron(0 20-2 * * ? *)", "cron(0 0 ? NOV-FEB FRI-MON *)", "cron(0 0 L-15 * ? *)", "cron(0 0 3W * ? *)",
)
BAD_SCHEDULES = (
    "rate(1 minutes)", "rate(1 hours)", "rate(1 days)", "rate(10 minute)", "rate(10 hour)", "rate(10 day)", "rate(10 seconds)", "rate(10 years)",
    "rate(10 minutess)", "rate(10 MINUTES)", "rate()", "rate(10)", "rate(foo minutes)", "rate(0 minutes)", "rate(-10 minutes)",
    "rate( 10 minutes )", " rate(10 minutes)", "cron(INVALID)", "cron(0 dummy ? * MON-FRI *)", "cron(71 8 1 * ? *)", "cron(7 20 * * NOT *)",
    "cron(0 1 * * * *)", "at(2026-11-21T04:00:00)",
)


@story
def schedules(t):
    events = t.client("events")
    for expression in GOOD_SCHEDULES:
        events.put_rule(Name="r", ScheduleExpression=expression)
        got = events.describe_rule(Name="r")
        t.is_(f"{expression} is a schedule", (got["ScheduleExpression"], "EventPattern" in got), (expression, False))
    for expression in BAD_SCHEDULES:
        t.refused(
            f"{expression!r} is no schedule", ("ValidationException", "Parameter ScheduleExpression is not valid."),
            events.put_rule, Name="r", ScheduleExpression=expression,
        )
    t.has("a refused PutRule leaves the rule", events.describe_rule(Name="r"), {"ScheduleExpression": GOOD_SCHEDULES[-1]})
    events.put_rule(Name="r", ScheduleExpression="rate(1 day)", EventPattern=PATTERN)
    t.has("a rule may have both", events.describe_rule(Name="r"), {"ScheduleExpression": "rate(1 day)", "EventPattern": PATTERN})
    events.put_rule(Name="r", ScheduleExpression="rate(1 day)", EventPattern="")
    t.has("an empty pattern is kept empty", events.describe_rule(Name="r"), {"ScheduleExpression": "rate(1 day)", "EventPattern": ""})
    events.create_event_bus(Name="orders")
    only_default = ("ValidationException", "ScheduleExpression is supported only on the default event bus.")
    t.refused("a custom bus has no schedules", only_default, events.put_rule, Name="r", EventBusName="orders", ScheduleExpression="rate(1 day)")
    t.refused("nor empty ones", only_default, events.put_rule, Name="r", EventBusName="orders", EventPattern=PATTERN, ScheduleExpression="")


@story
def rule_paging(t):
    events = t.client("events")
    queue = f"arn:aws:sqs:us-east-1:{t.account}:q"
    names = [f"rule-{i}" for i in range(7)]
    for name in reversed(names):
        events.put_rule(Name=name, EventPattern=PATTERN)
        events.put_targets(Rule=name, Targets=[{"Id": str(i), "Arn": queue} for i in range(5)])
    events.put_rule(Name="other", EventPattern=PATTERN)
    events.disable_rule(Name="rule-3")

    pages = list(events.get_paginator("list_rules").paginate(NamePrefix="rule-", PaginationConfig={"PageSize": 2}))
    t.is_("a paginator goes over all rules, by name", [[r["Name"] for r in p["Rules"]] for p in pages], [names[0:2], names[2:4], names[4:6], names[6:]])
    again = events.list_rules(NamePrefix="rule-", NextToken=pages[1]["NextToken"], Limit=100)
    t.is_("a token can be used again with another Limit", [r["Name"] for r in again["Rules"]], names[4:])
    pages = list(events.get_paginator("list_targets_by_rule").paginate(Rule="rule-0", PaginationConfig={"PageSize": 2}))
    t.is_("targets come in pages", [[x["Id"] for x in p["Targets"]] for p in pages], [["0", "1"], ["2", "3"], ["4"]])
    pages = list(events.get_paginator("list_rule_names_by_target").paginate(TargetArn=queue, PaginationConfig={"PageSize": 3}))
    t.is_("so do names of rules by target, each once, disabled ones too", [p["RuleNames"] for p in pages], [names[0:3], names[3:6], names[6:]])
    t.answers("a target without rules", events.list_rule_names_by_target(TargetArn=queue + "x"), {"RuleNames": []})


@story
def managed_rule(t):
    events = t.client("events")
    bus = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    events.create_archive(ArchiveName="all", EventSourceArn=bus, EventPattern=PATTERN)
    name = "Events-Archive-all"
    t.has(
        "an archive's rule is seen, with its manager", events.describe_rule(Name=name),
        {"State": "ENABLED", "ManagedBy": "prod.vhs.events.aws.internal", "EventPattern": '{"source":["shop"],"replay-name":[{"exists":false}]}'},
    )
    t.is_("also in lists", [(r["Name"], r["ManagedBy"]) for r in events.list_rules()["Rules"]], [(name, "prod.vhs.events.aws.internal")])
    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    template = targets[0]["InputTransformer"]["InputTemplate"]
    t.is_("its target is the archive", (targets[0]["Id"], targets[0]["Arn"]), (name, "arn:aws:events:us-east-1:::"))
    t.is_("with the template of archives", template.startswith(f'{{"archive-arn": "arn:aws:events:us-east-1:{t.account}:archive/all:'), True)
    for rule, call, more in (
        ("put", events.put_rule, {"Name": name, "EventPattern": PATTERN}),
        ("disabled", events.disable_rule, {"Name": name}),
        ("deleted", events.delete_rule, {"Name": name}),
        ("given targets", events.put_targets, {"Rule": name, "Targets": [{"Id": "q", "Arn": f"arn:aws:sqs:us-east-1:{t.account}:q"}]}),
        ("robbed of targets", events.remove_targets, {"Rule": name, "Ids": [name]}),
        ("tagged", events.tag_resource, {"ResourceARN": f"arn:aws:events:us-east-1:{t.account}:rule/{name}", "Tags": [{"Key": "a", "Value": "b"}]}),
    ):
        try:
            call(**more)
            code = "none"
        except events.exceptions.ManagedRuleException as e:
            code = e.response["Error"]["Code"]
        t.is_(f"a managed rule is not {rule}", code, "ManagedRuleException")
    events.delete_archive(ArchiveName="all")
    t.answers("it goes with its archive", events.list_rules(), {"Rules": []})

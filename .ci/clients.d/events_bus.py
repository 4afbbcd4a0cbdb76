"""Event buses, their tags and permissions."""

import json

from check import TIME, UUID, like, story
from cloud import Queue, knows, put, rule_to, tells

NAME = r"[/\.\-_A-Za-z0-9]+"
BUS = r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?" + NAME


def invalid(*parts):
    """The error of violated constraints, each (value, path, rule)."""
    said = "; ".join(f"Value {value} at '{path}' failed to satisfy constraint: {rule}" for value, path, rule in parts)
    return "ValidationException", f"{len(parts)} validation error{'s' if len(parts) > 1 else ''} detected: {said}"


def pattern_rule(p):
    return f"Member must satisfy regular expression pattern: {p}"


def missing_bus(name):
    return "ResourceNotFoundException", f"Event bus {name} does not exist."


@story
def buses(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    arn = f"arn:aws:events:us-east-1:{t.account}:event-bus/"
    times = {"CreationTime": TIME, "LastModifiedTime": TIME} if tells(events, "DescribeEventBus", "CreationTime") else {}
    default = {"Name": "default", "Arn": arn + "default", **times}
    t.answers("the default bus is there, without optional members", events.describe_event_bus(), default)
    t.answers("CreateEventBus answers with the ARN alone", events.create_event_bus(Name="orders"), {"EventBusArn": arn + "orders"})
    orders = {"Name": "orders", "Arn": arn + "orders", **times}
    t.answers("a bus is described by name", events.describe_event_bus(Name="orders"), orders)
    t.answers("a bus is described by ARN", events.describe_event_bus(Name=arn + "orders"), orders)
    t.answers("ListEventBuses has all of them", events.list_event_buses(), {"EventBuses": [default, orders]})
    t.answers("NamePrefix is literal", events.list_event_buses(NamePrefix="ord"), {"EventBuses": [orders]})
    t.answers("a prefix of none lists none", events.list_event_buses(NamePrefix="o.d"), {"EventBuses": []})
    t.refused(
        "a bus cannot be made twice", ("ResourceAlreadyExistsException", "Event bus orders already exists."),
        events.create_event_bus, Name="orders",
    )
    t.refused(
        "nor the default one", ("ResourceAlreadyExistsException", "Event bus default already exists."), events.create_event_bus, Name="default"
    )
    t.refused("a missing bus is named", missing_bus("nix"), events.describe_event_bus, Name="nix")
    t.refused(
        "the default bus stays", ("ValidationException", "Cannot delete event bus default."), events.delete_event_bus, Name="default"
    )
    t.refused(
        "a custom bus has no slash", ("ValidationException", "Event bus name must not contain '/'."), events.create_event_bus, Name="a/b"
    )
    t.refused(
        "a partner's source is not there", ("ResourceNotFoundException", "Event source aws.partner/x/y does not exist."),
        events.create_event_bus, Name="aws.partner/x/y", EventSourceName="aws.partner/x/y",
    )
    t.refused("a name has AWS's characters", invalid(("'订单'", "name", pattern_rule(NAME))), unchecked.create_event_bus, Name="订单")
    t.refused("a name is needed", invalid(("null", "name", "Member must not be null")), unchecked.create_event_bus)
    t.refused(
        "a name has 256 characters",
        invalid((f"'{'n' * 257}'", "name", "Member must have length less than or equal to 256")), unchecked.create_event_bus, Name="n" * 257,
    )
    events.put_rule(Name="r", EventBusName="orders", EventPattern='{"source":["shop"]}')
    t.refused(
        "a bus with rules stays", ("ValidationException", "EventBus can't be deleted since it has rules."),
        events.delete_event_bus, Name="orders",
    )
    events.delete_rule(Name="r", EventBusName="orders")
    t.answers("a bus is deleted", events.delete_event_bus(Name="orders"), {})
    t.answers("deleting what is not there succeeds", events.delete_event_bus(Name="orders"), {})
    t.answers("another region has its own buses", t.client("events", "eu-west-1").list_event_buses(NamePrefix="orders"), {"EventBuses": []})


@story
def bus_description(t):
    events = t.client("events")
    if not knows(events, "UpdateEventBus", "Description"):
        return  # of clients that know no description of buses
    arn = f"arn:aws:events:us-east-1:{t.account}:event-bus/orders"
    t.answers(
        "CreateEventBus answers with what was given",
        events.create_event_bus(
            Name="orders", Description="订单 🚚", DeadLetterConfig={"Arn": f"arn:aws:sqs:us-east-1:{t.account}:dlq"},
            LogConfig={"Level": "INFO", "IncludeDetail": "FULL"},
        ),
        {
            "EventBusArn": arn, "Description": "订单 🚚", "DeadLetterConfig": {"Arn": f"arn:aws:sqs:us-east-1:{t.account}:dlq"},
            "LogConfig": {"Level": "INFO", "IncludeDetail": "FULL"},
        },
    )
    was = events.describe_event_bus(Name="orders")
    t.has("the description is text of any language", was, {"Description": "订单 🚚"})
    t.has("UpdateEventBus changes the description", events.update_event_bus(Name="orders", Description="new"), {"Arn": arn, "Description": "new"})
    now = events.describe_event_bus(Name="orders")
    t.is_("creation stays, modification moves on", (now["CreationTime"], now["LastModifiedTime"] > was["LastModifiedTime"]), (was["CreationTime"], True))
    t.refused("a missing bus cannot be updated", missing_bus("nix"), events.update_event_bus, Name="nix", Description="x")
    t.refused(
        "keys of KMS are refused by name", ("ValidationException", "Parameter KmsKeyIdentifier is not served by Rialto."),
        events.update_event_bus, Name="orders", KmsKeyIdentifier="alias/k",
    )


@story
def bus_paging(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    names = [f"bus-{i:02}" for i in range(11)]
    for name in names:
        events.create_event_bus(Name=name)
    tokens, got, token = [], [], {}
    while True:
        page = events.list_event_buses(NamePrefix="bus-", Limit=3, **token)
        got += [b["Name"] for b in page["EventBuses"]]
        if "NextToken" not in page:
            break
        tokens.append(page["NextToken"])
        token = {"NextToken": page["NextToken"]}
    t.is_("pages together have each bus once, by name", got, names)
    t.is_("a full page that is not the last has a token", len(tokens), 3)
    second = events.list_event_buses(NamePrefix="bus-", Limit=3, NextToken=tokens[0])
    t.is_("a token can be used again", [b["Name"] for b in second["EventBuses"]], names[3:6])
    rest = events.list_event_buses(NamePrefix="bus-", Limit=100, NextToken=tokens[0])
    t.is_("Limit may change between pages", ([b["Name"] for b in rest["EventBuses"]], rest.get("NextToken")), (names[3:], None))
    one = events.list_event_buses(NamePrefix="bus-", Limit=1, NextToken=tokens[1])
    t.is_("and be smaller", [b["Name"] for b in one["EventBuses"]], names[6:7])
    exact = events.list_event_buses(NamePrefix="bus-", Limit=11)
    t.lacks("a page that is full and the last has no token", exact, "NextToken")
    t.refused(
        "Limit is 1 at least", invalid(("'0'", "limit", "Member must have value greater than or equal to 1")), unchecked.list_event_buses, Limit=0
    )
    t.refused(
        "Limit is 100 at most", invalid(("'101'", "limit", "Member must have value less than or equal to 100")), unchecked.list_event_buses, Limit=101
    )
    t.refused(
        "an empty token is refused", invalid(("''", "nextToken", "Member must have length greater than or equal to 1")),
        unchecked.list_event_buses, NextToken="",
    )
    t.refused(
        "a token of another kind is refused", ("ValidationException", "Parameter NextToken is not valid."), events.list_rules, NextToken=tokens[0]
    )


@story
def tags(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    bus = events.create_event_bus(Name="orders", Tags=[{"Key": "team", "Value": "商店 🛒"}])["EventBusArn"]
    rule = events.put_rule(Name="r", EventPattern='{"source":["shop"]}', Tags=[{"Key": "k", "Value": "v"}])["RuleArn"]
    for what, arn, first in (("bus", bus, ("team", "商店 🛒")), ("rule", rule, ("k", "v"))):

        def listed():
            return [(x["Key"], x["Value"]) for x in events.list_tags_for_resource(ResourceARN=arn)["Tags"]]

        t.is_(f"a {what} has the tags that it was made with", listed(), [first])
        t.answers(f"TagResource of a {what}", events.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "1"}, {"Key": "a", "Value": ""}]), {})
        t.is_(f"tags of a {what} are merged, in order of insertion", listed(), [first, ("b", "1"), ("a", "")])
        events.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
        t.is_(f"a tag of a {what} is replaced", dict(listed())["b"], "2")
        t.answers(f"UntagResource of a {what} ignores what is absent", events.untag_resource(ResourceARN=arn, TagKeys=["a", "nix"]), {})
        t.is_(f"a tag of a {what} is gone", listed(), [first, ("b", "2")])
        t.refused(
            f"a {what} takes no key twice", ("ValidationException", "Invalid parameter: Duplicated keys are not allowed."),
            events.tag_resource, ResourceARN=arn, Tags=[{"Key": "x", "Value": "1"}, {"Key": "x", "Value": "2"}],
        )
    events.put_rule(Name="r", EventPattern='{"source":["shop"]}', Tags=[{"Key": "new", "Value": "v"}])
    t.is_(
        "PutRule ignores tags of a rule that exists",
        [x["Key"] for x in events.list_tags_for_resource(ResourceARN=rule)["Tags"]], ["k", "b"],
    )
    t.refused(
        "a missing rule is named with its bus", ("ResourceNotFoundException", "Rule nix does not exist on EventBus default."),
        events.list_tags_for_resource, ResourceARN=rule[:-1] + "nix",
    )
    t.refused("so is a missing bus", missing_bus("nix"), events.tag_resource, ResourceARN=bus[:-6] + "nix", Tags=[{"Key": "a", "Value": "b"}])
    t.refused(
        "tags are needed", invalid(("null", "tags", "Member must not be null")), unchecked.tag_resource, ResourceARN=bus
    )
    events.delete_event_bus(Name="orders")
    t.is_(
        "a bus made anew has no tags",
        events.list_tags_for_resource(ResourceARN=events.create_event_bus(Name="orders")["EventBusArn"])["Tags"], [],
    )


def policy_of(events, bus="default"):
    got = events.describe_event_bus(Name=bus)
    return json.loads(got["Policy"]) if "Policy" in got else None


@story
def permissions(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    arn = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"

    def statement(sid, principal, **more):
        return {"Sid": sid, "Effect": "Allow", "Principal": principal, "Action": "events:PutEvents", "Resource": arn, **more}

    one = {"AWS": "arn:aws:iam::444455556666:root"}
    t.answers("PutPermission answers nothing", events.put_permission(StatementId="one", Action="events:PutEvents", Principal="444455556666"), {})
    t.is_("a statement names the account's root", policy_of(events), {"Version": "2012-10-17", "Statement": [statement("one", one)]})
    events.put_permission(StatementId="all", Action="events:PutEvents", Principal="*")
    t.is_("* is everybody", policy_of(events)["Statement"], [statement("one", one), statement("all", "*")])
    events.put_permission(
        StatementId="all", Action="events:PutEvents", Principal="*", Condition={"Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o-a1b2c3d4e5"}
    )
    t.is_(
        "a statement is replaced by its id, and has its condition", policy_of(events)["Statement"],
        [statement("one", one), statement("all", "*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})],
    )
    unknown = ("ResourceNotFoundException", "Statement with the provided id does not exist.")
    t.refused("an unknown statement", unknown, events.remove_permission, StatementId="nix")
    t.answers("RemovePermission answers nothing", events.remove_permission(StatementId="one"), {})
    events.remove_permission(StatementId="all")
    t.is_("no policy is shown after the last statement", policy_of(events), None)
    t.refused("an unknown statement where there is no policy", unknown, events.remove_permission, StatementId="all")
    t.refused("an id is needed", ("ValidationException", "Parameter StatementId is required."), events.remove_permission)
    t.refused(
        "the shorthand is of PutEvents alone", ("ValidationException", "Provided value in parameter 'action' is not supported."),
        events.put_permission, StatementId="a", Action="events:PutRule", Principal="*",
    )
    t.refused("a missing bus", missing_bus("nix"), events.put_permission, EventBusName="nix", StatementId="a", Action="events:PutEvents", Principal="*")
    t.refused(
        "a principal is an account", invalid(("'bob'", "principal", pattern_rule(r"(\d{12}|\*)"))),
        unchecked.put_permission, StatementId="a", Action="events:PutEvents", Principal="bob",
    )
    document = {"Version": "2012-10-17", "Statement": [statement("doc", one)]}
    events.put_permission(Policy=json.dumps(document))
    t.is_("Policy replaces the document", policy_of(events), document)
    long = {"Version": "2012-10-17", "Statement": [statement(f"s{i}-{'x' * 50}", one) for i in range(50)]}
    try:
        events.put_permission(Policy=json.dumps(long))
        code = "none"
    except events.exceptions.PolicyLengthExceededException as e:
        code = type(e).__name__
    t.is_("a policy has 10,240 characters", code, "PolicyLengthExceededException")
    frozen = {"Sid": "frozen", "Effect": "Deny", "Principal": "*", "Action": "events:PutRule", "Resource": "*"}
    events.put_permission(Policy=json.dumps({"Version": "2012-10-17", "Statement": [frozen]}))
    rule = f"arn:aws:events:us-east-1:{t.account}:rule/r"
    t.refused(
        "a policy that denies holds for the own account too",
        ("AccessDeniedException", like(f".* events:PutRule on resource: {rule} with an explicit deny in a resource-based policy")),
        events.put_rule, Name="r", EventPattern='{"source":["a"]}',
    )
    t.answers("all permissions go at once", events.remove_permission(RemoveAllPermissions=True), {})
    t.is_("and with them the policy", policy_of(events), None)


@story
def cross_account(t):
    """Events that another account puts."""
    other = t.cloud.account()
    arn = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    q = Queue(t)
    events, theirs = rule_to(t, q.arn), t.client("events", account=other)
    entry = {"Source": "shop", "DetailType": "x", "Detail": "{}", "EventBusName": arn}
    try:
        theirs.put_events(Entries=[entry])
        code = "none"
    except theirs.exceptions.ClientError as e:
        code = e.response["Error"]["Code"]
    t.is_("without a permission the whole call is denied", code, "AccessDeniedException")
    events.put_permission(StatementId="one", Action="events:PutEvents", Principal=other)
    got = theirs.put_events(Entries=[entry])
    t.answers("with one it is taken", got, {"FailedEntryCount": 0, "Entries": [{"EventId": UUID}]})
    received = q.events()
    t.is_(
        "and the event keeps its own account", [(e["account"], e["id"]) for e in received], [(other, got["Entries"][0]["EventId"])]
    )
    rules = {
        "Sid": "rules", "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{other}:root"}, "Action": ["events:PutRule", "events:DescribeRule"],
        "Resource": f"arn:aws:events:us-east-1:{t.account}:rule/their-*", "Condition": {"StringEqualsIfExists": {"events:creatorAccount": other}},
    }
    events.put_permission(Policy=json.dumps({"Version": "2012-10-17", "Statement": [rules]}))
    theirs.put_rule(Name="their-r", EventBusName=arn, EventPattern='{"source":["shop"]}')
    made = theirs.describe_rule(Name="their-r", EventBusName=arn)
    t.has("another account may be allowed rules by their names", made, {"Arn": f"arn:aws:events:us-east-1:{t.account}:rule/their-r"})
    t.refused(
        "and no others",
        ("AccessDeniedException", like(f".* events:PutRule on resource: arn:aws:events:us-east-1:{t.account}:rule/r because no resource-based policy allows .*")),
        theirs.put_rule, Name="r", EventBusName=arn, EventPattern='{"source":["shop"]}',
    )
    rule_to(t, q.arn, rule="own", pattern=json.dumps({"account": [t.account]}))
    put(events, ("shop", "own", {}))
    t.is_("a pattern tells accounts apart", len(q.messages(2)), 2)

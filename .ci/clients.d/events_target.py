"""Targets of rules, as the control plane has them."""

from check import story
from cloud import ROLE
from events_bus import invalid, missing_bus, pattern_rule
from events_rule import NAME, PATTERN, missing_rule


def error(message):
    return "ValidationException", message


@story
def targets(t):
    events = t.client("events")
    sqs, ours = f"arn:aws:sqs:us-east-1:{t.account}:", f"us-east-1:{t.account}:"
    events.put_rule(Name="r", EventPattern=PATTERN)
    want = [
        {
            "Id": "api", "Arn": f"arn:aws:events:{ours}api-destination/d/0f0f0f0f-0000-4000-8000-000000000001", "RoleArn": ROLE(t.account),
            "HttpParameters": {"PathParameterValues": ["a b", "$.detail.id"], "HeaderParameters": {"X-K": "v"}, "QueryStringParameters": {"q": "$5"}},
            "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 60},
        },
        {"Id": "bus", "Arn": "arn:aws:events:eu-west-1:444455556666:event-bus/default", "RoleArn": ROLE(t.account), "DeadLetterConfig": {"Arn": sqs + "dlq"}},
        {"Id": "fifo", "Arn": sqs + "q.fifo", "SqsParameters": {"MessageGroupId": "订单"}},
        {"Id": "function", "Arn": f"arn:aws:lambda:{ours}function:f:live", "Input": '{ "fixed" : "机器 🚀" }'},
        {"Id": "topic", "Arn": f"arn:aws:sns:{ours}t", "InputTransformer": {"InputPathsMap": {"a": "$.detail.a-b", "z": "$.id"}, "InputTemplate": '{"a":<a>}'}},
    ]
    none = {"FailedEntryCount": 0, "FailedEntries": []}
    t.answers("PutTargets answers with failures, of which there are none", events.put_targets(Rule="r", Targets=want), none)
    t.answers("targets come back as they were put", events.list_targets_by_rule(Rule="r"), {"Targets": want})
    t.refused(
        "a rule has five targets", ("LimitExceededException", "The requested resource exceeds the maximum number allowed."),
        events.put_targets, Rule="r", Targets=[{"Id": "sixth", "Arn": sqs + "q"}],
    )
    events.put_targets(Rule="r", Targets=[{"Id": "function", "Arn": sqs + "q"}])
    got = {x["Id"]: x for x in events.list_targets_by_rule(Rule="r")["Targets"]}
    t.is_("a target of the same id is replaced as a whole", got["function"], {"Id": "function", "Arn": sqs + "q"})
    t.answers("RemoveTargets takes ids that are not there", events.remove_targets(Rule="r", Ids=["api", "nix"]), none)
    t.is_("and removes the others", sorted(x["Id"] for x in events.list_targets_by_rule(Rule="r")["Targets"]), ["bus", "fifo", "function", "topic"])
    events.put_rule(Name="logs", EventPattern=PATTERN)
    entry = {
        "Id": "logs", "Arn": f"arn:aws:logs:{ours}log-group:/aws/events/orders",
        "InputTransformer": {"InputPathsMap": {"m": "$.detail", "t": "$.time"}, "InputTemplate": '{"timestamp":<t>,"message":<m>}'},
    }
    events.put_targets(Rule="logs", Targets=[entry])
    t.answers("a log group is a target", events.list_targets_by_rule(Rule="logs"), {"Targets": [entry]})


@story
def refused_targets(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    events.put_rule(Name="r", EventPattern=PATTERN)
    sqs, role = f"arn:aws:sqs:us-east-1:{t.account}:q", ROLE(t.account)
    bus, api = f"arn:aws:events:us-east-1:{t.account}:event-bus/other", f"arn:aws:events:us-east-1:{t.account}:api-destination/d/0f0f0f0f-0000-4000-8000-000000000001"
    group = f"arn:aws:logs:us-east-1:{t.account}:log-group:g"
    at = "targets.1.member."

    def template(text, paths=None):
        return {"InputTransformer": {"InputTemplate": text, **({} if paths is None else {"InputPathsMap": paths})}}

    keys = (
        "Map keys must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 1, "
        r"Member must satisfy regular expression pattern: [A-Za-z0-9\_\-]+]"
    )
    for rule, want, target in (
        ("an id has AWS's characters", invalid(("'!@#'", at + "id", pattern_rule(NAME))), {"Id": "!@#"}),
        ("an id has 64 characters", invalid((f"'{'i' * 65}'", at + "id", "Member must have length less than or equal to 64")), {"Id": "i" * 65}),
        ("an ARN is one", error("Parameter nothing is not valid. Reason: Provided Arn is not in correct format."), {"Arn": "nothing"}),
        ("a FIFO queue needs a group", error("Parameter(s) SqsParameters must be specified for target: t."), {"Arn": sqs + ".fifo"}),
        (
            "a retry policy has 185 attempts", invalid(("'186'", at + "retryPolicy.maximumRetryAttempts", "Member must have value less than or equal to 185")),
            {"RetryPolicy": {"MaximumRetryAttempts": 186}},
        ),
        (
            "and a minute", invalid(("'59'", at + "retryPolicy.maximumEventAgeInSeconds", "Member must have value greater than or equal to 60")),
            {"RetryPolicy": {"MaximumEventAgeInSeconds": 59}},
        ),
        (
            "and a day", invalid(("'86401'", at + "retryPolicy.maximumEventAgeInSeconds", "Member must have value less than or equal to 86400")),
            {"RetryPolicy": {"MaximumEventAgeInSeconds": 86401}},
        ),
        ("one input at most", error("Only one of Input, InputPath, or InputTransformer must be provided for target t."), {"Input": "{}", "InputPath": "$.a"}),
        (
            "also of the other two", error("Only one of Input, InputPath, or InputTransformer must be provided for target t."),
            {"InputPath": "$.a", **template('"x"')},
        ),
        ("Input is JSON", error('JSON syntax error in input for target t: [Source: (String)"not-json"; line: 1, column: 1]'), {"Input": "not-json"}),
        *(
            (f"InputPath {path} is none", error("InputPath for target t is invalid."), {"InputPath": path})
            for path in ("$..x", "detail", "$['a']", '$["a"]', "$.a.*", "$.a[-1]", "$.a[0:2]")
        ),
        ("a path of a template is one", error("InputPath for target t is invalid."), template('"<a>"', {"a": "x"})),
        ("and not empty", error("InputPath for target t is invalid."), template('"<a>"', {"a": ""})),
        (
            "a template is JSON without its placeholders", error('Invalid InputTemplate for target t : [Source: (String)"hello null"; line: 1, column: 1].'),
            template("hello <a>", {"a": "$.id"}),
        ),
        ("a placeholder has a path", error("InputTemplate for target t contains invalid placeholder name."), template('"<name>"', {"a": "$.id"})),
        ("a placeholder is no key", error("InputTemplate placeholder present as a JSON object key for target t."), template("{<a>:1}", {"a": "$.id"})),
        *(
            (
                f"{name} is for objects", error(f"InputTemplate for target t contains placeholder {name} valid only for JSON template."),
                template(f'"<{name}>"'),
            )
            for name in ("aws.events.event.json", "aws.events.event")
        ),
        ("a path's name has no dots", invalid(("'{a.b=$.id}'", at + "inputTransformer.inputPathsMap", keys)), template('"x"', {"a.b": "$.id"})),
        ("a template is not empty", invalid(("''", at + "inputTransformer.inputTemplate", "Member must have length greater than or equal to 1")), template("")),
        ("a bus needs a role", error(f"RoleArn is required for target {bus}."), {"Arn": bus}),
        ("a bus takes no input", error(f"Input is not supported for target {bus}."), {"Arn": bus, "RoleArn": role, "Input": "{}"}),
        ("nor a retry policy", error(f"RetryPolicy is not supported for target {bus}."), {"Arn": bus, "RoleArn": role, "RetryPolicy": {"MaximumRetryAttempts": 1}}),
        ("an API destination needs a role", error(f"RoleArn is required for target {api}."), {"Arn": api}),
        ("a log group takes no role", error(f"RoleArn is not supported for target {group}."), {"Arn": group, "RoleArn": role}),
        ("nor Input", error(f"Input is not supported for target {group}."), {"Arn": group, "Input": "{}"}),
    ):
        t.refused(rule, want, unchecked.put_targets, Rule="r", Targets=[{"Id": "t", "Arn": sqs, **target}])
    try:
        events.put_targets(Rule="r", Targets=[{"Id": "t", "Arn": f"arn:aws:states:us-east-1:{t.account}:stateMachine:m", "RoleArn": role}])
        said = ""
    except events.exceptions.ClientError as e:
        said = e.response["Error"]["Message"]
    t.is_("kinds that are not served are refused by name", "Targets of service states are not served by Rialto" in said, True)
    t.refused(
        "targets are needed", invalid(("null", "targets", "Member must not be null")), unchecked.put_targets, Rule="r"
    )
    t.refused("one at least", invalid(("'[]'", "targets", "Member must have length greater than or equal to 1")), unchecked.put_targets, Rule="r", Targets=[])
    one = [{"Id": "t", "Arn": sqs}]
    t.refused("of a rule that is there", missing_rule("nix"), events.put_targets, Rule="nix", Targets=one)
    t.refused("on a bus that is there", missing_bus("nix"), events.put_targets, Rule="r", EventBusName="nix", Targets=one)
    t.answers("nothing came of what was refused", events.list_targets_by_rule(Rule="r"), {"Targets": []})

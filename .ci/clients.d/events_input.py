"""What targets receive: Input, InputPath and InputTransformer, up to the message in a queue."""

import json

from check import like, story
from cloud import Queue

DETAIL = {
    "text": "hello", "quoted": 'say "hi"', "lines": "a\nb", "n": 42, "f": 3.5, "yes": True, "none": None, "city": "上海 🛒", "tag": "<n>",
    "payload": {"acc_id": "0a", "sf": "baz"}, "list": ["HIGH"], "items": [{"name": "first"}, {"name": "second"}], "a-b": 1, "a_b": 2, "a/b": 3,
}
PATHS = {
    "text": "$.detail.text", "quoted": "$.detail.quoted", "lines": "$.detail.lines", "n": "$.detail.n", "f": "$.detail.f", "yes": "$.detail.yes",
    "none": "$.detail.none", "city": "$.detail.city", "tag": "$.detail.tag", "p": "$.detail.payload", "id": "$.detail.payload.acc_id",
    "l": "$.detail.list", "items": "$.detail.items", "missing": "$.detail.nix", "names": "$.detail.items[*].name", "whole": "$",
}

INPUTS = (
    ('{ "fixed": true }', '{ "fixed": true }'), ('[1,"two"]', '[1,"two"]'), ('"constant"', '"constant"'), ("17", "17"), ("null", "null"),
    ('{"文":"上海 🚀 <n>"}', '{"文":"上海 🚀 <n>"}'),
)
INPUT_PATHS = (
    ("$.detail.text", '"hello"'), ("$.detail.n", "42"), ("$.detail.yes", "true"), ("$.detail.payload", '{"acc_id":"0a","sf":"baz"}'),
    ("$.detail.items[*].name", '["first","second"]'), ("$.detail.items[1].name", '"second"'), ("$.detail.list", '["HIGH"]'),
    ("$.detail.city", '"上海 🛒"'), ("$.detail.none", "{}"), ("$.detail.nix", "{}"), ("", "{}"), ("$.detail.a-b", "1"), ("$.detail.a_b", "2"),
    ("$.detail.a/b", "3"), ("$.source", '"shop"'),
)
TEMPLATES = (
    # object mode
    ('{"path":"users/<id>/x/<id>","b":<p>}', '{"path":"users/0a/x/0a","b":{"acc_id":"0a","sf":"baz"}}'),
    ('{"id":"<id>","l":<l>,"m":[<id>,"k"]}', '{"id":"0a","l":["HIGH"],"m":["0a","k"]}'),
    ('{"v":<text>,"q":<quoted>}', '{"v":"hello","q":"say \\"hi\\""}'),
    ('{"v":"prefix <quoted> suffix"}', '{"v":"prefix say \\"hi\\" suffix"}'),
    ('{"n":<n>,"f":<f>,"y":<yes>,"z":<none>}', '{"n":42,"f":3.5,"y":true,"z":null}'),
    ('{"n":"<n>","y":"Command is <yes>!"}', '{"n":"42","y":"Command is true!"}'),
    ('{"m":<missing>,"l":[<missing>]}', '{"m":"","l":[""]}'),
    ('{"m":"before <missing> after"}', '{"m":"before  after"}'),
    ('{"c":<city>,"t":"<tag>"}', '{"c":"上海 🛒","t":"<n>"}'),
    ('{"names":<names>}', '{"names":["first","second"]}'),
    ('{"lines":"<lines>"}', '{"lines":"a\\nb"}'),
    # text mode
    ('"Event of <text>"', '"Event of hello"'),
    ('"P <p> L <l>"', '"P {acc_id:0a,sf:baz} L [HIGH]"'),
    ('"{[/Check <id>"', '"{[/Check 0a"'),
    ('"before <missing> after"', '"before  after"'),
    ('"<none>"', '"null"'),
    ("<n>", "42"),
    ("[<n>]", "[42]"),
    ("<yes>", "true"),
    ('"a <id>"\n"b <n>"', '"a 0a"\n"b 42"'),
    ('"prefix \\"<text>\\" suffix"', '"prefix \\"hello\\" suffix"'),
    ('"<city>"', '"上海 🛒"'),
    ('"<tag>"', '"<n>"'),
    ('"items=<items>"', '"items=[{name:first},{name:second}]"'),
)
BROKEN = (
    ('{"l":"<l>"}', '{"l":"["HIGH"]"}'), ('{"p":"x<p>"}', '{"p":"x{"acc_id":"0a","sf":"baz"}"}'), ("<text>", "hello"), ('"<quoted>"', '"say "hi""'),
    ("[1,<missing>,2]", "[1,,2]"), ('"<lines>"', '"a\nb"'), ("<p>", "{acc_id:0a,sf:baz}"),
)


class Cases:
    """Queues with a rule each, so that cases run beside one another."""

    def __init__(self, t):
        self.t, self.events, self.waiting = t, t.client("events"), []
        self.dead = Queue(t, "dead")

    def add(self, rule, want, **target):
        q = Queue(self.t, f"q{len(self.waiting)}")
        name = f"r{len(self.waiting)}"
        self.events.put_rule(Name=name, EventPattern='{"source":["shop"]}')
        self.events.put_targets(Rule=name, Targets=[{"Id": "t", "Arn": q.arn, "DeadLetterConfig": {"Arn": self.dead.arn}, **target}])
        self.waiting.append((rule, q, want))

    def deliver(self):
        entry = {"Source": "shop", "DetailType": "order", "Detail": json.dumps(DETAIL, ensure_ascii=False)}
        self.event_id = self.events.put_events(Entries=[entry])["Entries"][0]["EventId"]
        for rule, q, want in self.waiting:
            self.t.is_(rule, q.bodies(1, 10), [want])


@story
def inputs(t):
    cases = Cases(t)
    for text, want in INPUTS:
        cases.add(f"Input {text} is sent as it is", want, Input=text)
    for path, want in INPUT_PATHS:
        cases.add(f"InputPath {path!r}", want, InputPath=path)
    cases.add("InputPath $ is the whole event", like('{"version":"0","id":".*}'), InputPath="$")
    cases.deliver()


@story
def templates(t):
    cases = Cases(t)
    for template, want in TEMPLATES:
        cases.add(f"template {template!r}", want, InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})
    cases.add(
        "without a map of paths placeholders stay", '"before <undefined> after"', InputTransformer={"InputTemplate": '"before <undefined> after"'}
    )
    rule = f"arn:aws:events:us-east-1:{t.account}:rule/r{len(cases.waiting)}"
    cases.add("rule-arn and rule-name", f'"{rule} {rule.rpartition("/")[2]}"', InputTransformer={"InputTemplate": '"<aws.events.rule-arn> <aws.events.rule-name>"'})
    cases.add(
        "ingestion-time has milliseconds", like(r'\{"at": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}'),
        InputTransformer={"InputTemplate": '{"at": <aws.events.event.ingestion-time>}'},
    )
    cases.deliver()
    whole = Queue(t, "whole")
    cases.events.put_rule(Name="whole", EventPattern='{"source":["shop"]}')
    cases.events.put_targets(
        Rule="whole", Targets=[{"Id": "t", "Arn": whole.arn, "InputTransformer": {"InputTemplate": '{"j":<aws.events.event.json>,"e":<aws.events.event>}'}}]
    )
    time = "2026-01-02T03:04:05Z"
    entry = {"Source": "shop", "DetailType": "order", "Detail": '{"a":1}', "Time": time, "Resources": ["r"]}
    event_id = cases.events.put_events(Entries=[entry])["Entries"][0]["EventId"]
    own = {"id": event_id, "account": t.account, "source": "shop", "region": "us-east-1", "resources": ["r"], "version": "0"}
    t.is_(
        "event.json is the event, and event is one without detail and with other names", whole.events(),
        [{"j": {**own, "detail-type": "order", "time": time, "detail": {"a": 1}}, "e": {**own, "detailType": "order", "time": 1767323045000}}],
    )


@story
def broken_templates(t):
    cases = Cases(t)
    for template, _ in BROKEN:
        cases.add(template, None, InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})
    cases.add("unmapped", None, InputTransformer={"InputTemplate": '{"v":<undefined>}'})
    entry = {"Source": "shop", "DetailType": "order", "Detail": json.dumps(DETAIL)}
    cases.events.put_events(Entries=[entry])
    got = {m["MessageAttributes"]["RULE_ARN"]["StringValue"].rpartition("/")[2]: m for m in cases.dead.messages(len(cases.waiting))}
    for i, (template, q, _) in enumerate(cases.waiting):
        want = [*(text for _, text in BROKEN), '{"v":<undefined>}'][i]
        m = got.get(f"r{i}", {"Body": "<none>", "MessageAttributes": {}})
        t.is_(f"{template!r} comes out broken, and goes to the dead-letter queue", m["Body"], want)
        t.is_(
            f"{template!r} is INVALID_JSON, with no retries",
            {k: v["StringValue"] for k, v in m["MessageAttributes"].items()},
            {
                "ERROR_CODE": "INVALID_JSON", "ERROR_MESSAGE": "Invalid input for target.", "TARGET_ARN": q.arn,
                "RULE_ARN": f"arn:aws:events:us-east-1:{t.account}:rule/r{i}",
            },
        )
    t.is_("none of them reached its target", [q.bodies(1, 0.01) for _, q, _ in cases.waiting], [[]] * len(cases.waiting))

"""Event patterns: what matches, and the words that refuse a bad one."""

import json

from check import like, story

EVENT = {
    "version": "0", "id": "0d0a608b-b6bd-e22d-739b-365f723ccf4b", "detail-type": "order placed", "source": "shop", "account": "111122223333",
    "time": "2026-01-02T03:04:05Z", "region": "us-east-1", "resources": ["arn:a", "arn:b"],
    "detail": {
        "city": "上海", "icon": "🛒", "n": 300, "price": 3.5, "paid": True, "none": None, "empty": "", "ip": "10.0.0.7", "file": "dir/Image.PNG",
        "list": ["x", "y"], "nothing": [], "object": {"a": 1}, "a.b": "joined", "items": [{"t": "S", "p": "Nurse"}, {"t": "D", "p": "Doctor"}],
    },
}

MATCHES = (
    ({"source": ["shop"]}, True),
    ({"source": ["other", "shop"]}, True),
    ({"source": ["Shop"]}, False),
    ({"source": ["shop"], "detail-type": ["nix"]}, False),
    ({"resources": ["arn:b"]}, True),
    ({"detail": {"city": ["上海"]}}, True),
    ({"detail": {"icon": ["🛒"]}}, True),
    ({"detail": {"icon": [{"prefix": "🛒"}]}}, True),
    ({"detail": {"n": [300.0]}}, True),
    ({"detail": {"n": ["300"]}}, False),
    ({"detail": {"n": [{"numeric": [">", 0, "<=", 300]}]}}, True),
    ({"detail": {"price": [{"numeric": ["=", 3.5]}]}}, True),
    ({"detail": {"city": [{"numeric": [">", 0]}]}}, False),
    ({"detail": {"paid": [True]}}, True),
    ({"detail": {"paid": ["true"]}}, False),
    ({"detail": {"none": [None]}}, True),
    ({"detail": {"missing": [None]}}, False),
    ({"detail": {"empty": [""]}}, True),
    ({"detail": {"file": [{"suffix": ".PNG"}]}}, True),
    ({"detail": {"file": [{"suffix": ".png"}]}}, False),
    ({"detail": {"file": [{"suffix": {"equals-ignore-case": ".png"}}]}}, True),
    ({"detail": {"file": [{"prefix": {"equals-ignore-case": "DIR"}}]}}, True),
    ({"detail": {"file": [{"equals-ignore-case": "DIR/image.png"}]}}, True),
    ({"detail": {"file": [{"wildcard": "dir/*.PNG"}]}}, True),
    ({"detail": {"file": [{"wildcard": "dir/*.txt"}]}}, False),
    ({"detail": {"n": [{"anything-but": 300}]}}, False),
    ({"detail": {"n": [{"anything-but": [1, 2]}]}}, True),
    ({"detail": {"missing": [{"anything-but": "x"}]}}, False),
    ({"detail": {"missing": [{"anything-but": ["x"]}, {"exists": False}]}}, True),
    ({"detail": {"file": [{"anything-but": {"prefix": "dir"}}]}}, False),
    ({"detail": {"file": [{"anything-but": {"wildcard": "*/lib/*"}}]}}, True),
    ({"detail": {"list": [{"anything-but": ["x", "z"]}]}}, True),
    ({"detail": {"list": ["y"]}}, True),
    ({"detail": {"nothing": [{"exists": True}]}}, False),
    ({"detail": {"object": [{"exists": True}]}}, False),
    ({"detail": {"object": {"a": [{"exists": True}]}}}, True),
    ({"detail": {"none": [{"exists": True}]}}, True),
    ({"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
    ({"detail": {"ip": [{"cidr": "10.0.1.0/24"}]}}, False),
    ({"detail": {"a": {"b": ["joined"]}}}, True),
    ({"detail": {"items": {"t": ["S"], "p": ["Doctor"]}}}, False),
    ({"detail": {"items": {"t": ["D"], "p": ["Doctor"]}}}, True),
    ({"$or": [{"source": ["nix"]}, {"detail": {"city": ["上海"]}}]}, True),
    ({"source": ["nix"], "$or": [{"region": ["us-east-1"]}, {"region": ["eu-west-1"]}]}, False),
)

# A pattern and AWS's text about it; those in NOWHERE come without a place.
BAD = (
    ("[]", "Filter is not an object"),
    ("{}", "Empty objects are not allowed"),
    ('{"a":{}}', "Empty objects are not allowed"),
    ('{"a":[]}', "Empty arrays are not allowed"),
    ('{"a":"x"}', '"a" must be an object or an array'),
    ('{"a":1}', '"a" must be an object or an array'),
    ('{"a":null}', '"a" must be an object or an array'),
    ('{"a":[["x"]]}', "Match value must be String, number, true, false, or null"),
    ('{"a":[{}]}', "Match expression name not found"),
    ('{"a":[{"prefix":"a","suffix":"b"}]}', "Only one key allowed in match expression"),
    ('{"a":[{"EXISTS":true}]}', "Unrecognized match type EXISTS"),
    ('{"a":[{"$or":["x"]}]}', "Unrecognized match type $or"),
    ('{"a":[{"prefix":1}]}', "prefix match pattern must be a string"),
    ('{"a":[{"suffix":1}]}', "suffix match pattern must be a string"),
    ('{"a":[{"exactly":1}]}', "exact match pattern must be a string"),
    ('{"a":[{"prefix":{"other":"x"}}]}', "Unsupported prefix pattern: other"),
    ('{"a":[{"suffix":{"other":"x"}}]}', "Unsupported suffix pattern: other"),
    ('{"a":[{"prefix":{}}]}', "Prefix expression name not found"),
    ('{"a":[{"suffix":{}}]}', "Suffix expression name not found"),
    ('{"a":[{"equals-ignore-case":["x"]}]}', "equals-ignore-case match pattern must be a string"),
    ('{"a":[{"wildcard":1}]}', "wildcard match pattern must be a string"),
    ('{"a":[{"wildcard":"a**"}]}', "Consecutive wildcard characters at pos 2"),
    ('{"a":[{"wildcard":"a\\\\x"}]}', "Invalid escape character at pos 2"),
    ('{"a":[{"numeric":5}]}', "Value of numeric must be an array."),
    ('{"a":[{"numeric":[5]}]}', "Invalid member in numeric match: 5"),
    ('{"a":[{"numeric":["==",5]}]}', "Unrecognized numeric range operator: =="),
    ('{"a":[{"numeric":["=","5"]}]}', "Value of equals must be numeric"),
    ('{"a":[{"numeric":["<","5"]}]}', "Value of < must be numeric"),
    ('{"a":[{"numeric":[">",5,">",6]}]}', "Bad numeric range operator: >"),
    ('{"a":[{"numeric":["=",5,6]}]}', "Too many elements in numeric expression"),
    ('{"a":[{"numeric":[">=",5,"<=",5]}]}', "Bottom must be less than top"),
    ('{"a":[{"numeric":[">",1e309]}]}', "Cannot compare number : 1e309"),
    ('{"a":[{"anything-but":null}]}', "Value of anything-but must be an array or single string/number value."),
    ('{"a":[{"anything-but":{"prefix":{"equals-ignore-case":"x"}}}]}', "Value of anything-but must be an array or single string/number value."),
    ('{"a":[{"anything-but":[null]}]}', "Inside anything but list, start|null|boolean is not supported."),
    ('{"a":[{"anything-but":["x",1]}]}', "Inside anything but list, either all values are number or string, mixed type is not supported"),
    ('{"a":[{"anything-but":{"numeric":["=",1]}}]}', "Unsupported anything-but pattern: numeric"),
    ('{"a":[{"anything-but":{}}]}', "Anything-But expression name not found"),
    ('{"a":[{"anything-but":{"prefix":1}}]}', "prefix/suffix match pattern must be a string"),
    ('{"a":[{"anything-but":{"prefix":""}}]}', "Null prefix/suffix not allowed"),
    ('{"a":[{"anything-but":{"equals-ignore-case":1}}]}', "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."),
    ('{"a":[{"exists":"yes"}]}', "exists match pattern must be either true or false."),
    ('{"a":[{"cidr":1}]}', "prefix match pattern must be a string"),
    ('{"$or":{}}', "It must be an Array followed with $or."),
    ('{"$or":["x","y"]}', "Only JSON object is allowed in array of $or relationship."),
    ('{"$or":[{"a":["x"]}]}', "There must have at least 2 Objects in $or relationship."),
    ('{"$or":[{"numeric":["x"]},{"a":["x"]}]}', "numeric is Ruler reserved fieldName which cannot be used inside $or."),
)
NOWHERE = (
    ('{"a":[{"cidr":"10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
    ('{"a":[{"cidr":"10.0.0.0/x"}]}', "Malformed CIDR, mask bits must be an integer"),
    ('{"a":[{"cidr":"10.0.0.0/-1"}]}', "Malformed CIDR, mask bits must not be negative"),
    ('{"a":[{"cidr":"10.0.0.0/32"}]}', "IPv4 mask bits must be < 32"),
    ('{"a":[{"cidr":"::/128"}]}', "IPv6 mask bits must be < 128"),
    ('{"a":[{"cidr":"xx.11.xx/8"}]}', "Nonstandard IP address: xx.11.xx"),
    (
        '{"a":[{"wildcard":"*a*a*a*a*a*a*a*a*a*a"}]}',
        "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character",
    ),
)
EXACT = (
    (
        "this is no pattern",
        "Unrecognized token 'this': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
        '\n at [Source: (String)"this is no pattern"; line: 1, column: 5]',
    ),
    ("{}", 'Empty objects are not allowed\n at [Source: (String)"{}"; line: 1, column: 3]'),
    ('{"source":"a"}', '"source" must be an object or an array\n at [Source: (String)"{"source":"a"}"; line: 1, column: 12]'),
)


@story
def event_patterns(t):
    events = t.client("events")
    text = json.dumps(EVENT, ensure_ascii=False)
    for pattern, matches in MATCHES:
        pattern = json.dumps(pattern, ensure_ascii=False)
        t.answers(f"{pattern} {'matches' if matches else 'does not match'}", events.test_event_pattern(EventPattern=pattern, Event=text), {"Result": matches})
    invalid = ("ValidationException", "Parameter Event is not valid.")
    for event in ("no event", "[]", '"text"', "{", *(json.dumps({k: v for k, v in EVENT.items() if k != m}) for m in ("id", "account", "source", "time", "region", "detail-type"))):
        t.refused(f"{event[:60]} is no event", invalid, events.test_event_pattern, EventPattern='{"source":["shop"]}', Event=event)
    bare = {k: v for k, v in EVENT.items() if k not in ("version", "resources", "detail")}
    t.answers(
        "an event can do without version, resources and detail, and have more",
        events.test_event_pattern(EventPattern='{"more":["x"]}', Event=json.dumps({**bare, "more": "x"})), {"Result": True},
    )


@story
def bad_event_patterns(t):
    events = t.client("events")
    for pattern, reason in EXACT:
        want = "InvalidEventPatternException", f"Event pattern is not valid. Reason: {reason}"
        t.refused(f"{pattern} is refused by PutRule, with the place", want, events.put_rule, Name="r", EventPattern=pattern)
        t.refused(f"{pattern} is refused by TestEventPattern", want, events.test_event_pattern, EventPattern=pattern, Event=json.dumps(EVENT))
    for patterns, place in ((BAD, r'( at \[Source: \(String\)".*"; line: 1, column: \d+\]\n?){1,2}'), (NOWHERE, "")):
        for pattern, reason in patterns:
            text = "Event pattern is not valid\\. Reason: " + escape(reason) + ("\n" + place if place else "")
            t.refused(f"{pattern} is refused", ("InvalidEventPatternException", like(text)), events.put_rule, Name="r", EventPattern=pattern)
    t.is_("no rule came of them", events.list_rules()["Rules"], [])


def escape(text):
    return "".join("\\" + c if c in r"\.^$*+?()[]{}|" else c for c in text)

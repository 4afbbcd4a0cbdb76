"""Connections and API destinations, up to the requests that an endpoint gets."""

import base64
import datetime
import json

from check import SECOND, Matcher, like, story
from cloud import ROLE, Queue, put, rule_to
from events_bus import invalid, pattern_rule

ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
BASIC = {"BasicAuthParameters": {"Username": "user", "Password": "hush"}}
AUTHORIZATION_TYPES = "Member must satisfy enum value set: [BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]"
NAME = r"[\.\-_A-Za-z0-9]+"
NEVER = Matcher("the epoch", lambda v: isinstance(v, datetime.datetime) and v.timestamp() == 0)


def oauth(url, **more):
    return {
        "OAuthParameters": {
            "AuthorizationEndpoint": url, "HttpMethod": "POST", "ClientParameters": {"ClientID": "client", "ClientSecret": "hush"}, **more
        }
    }


def missing_connection(name):
    return "ResourceNotFoundException", f"Failed to describe the connection(s). Connection '{name}' does not exist."


def missing_destination(name):
    return "ResourceNotFoundException", f"Failed to describe the api-destination(s). An api-destination '{name}' does not exist."


@story
def connections(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    arn = f"arn:aws:events:us-east-1:{t.account}:connection/"
    times = {"CreationTime": SECOND, "LastModifiedTime": SECOND}
    more = {
        "InvocationHttpParameters": {
            "HeaderParameters": [{"Key": "X-A", "Value": "open"}, {"Key": "X-B", "Value": "hush", "IsValueSecret": True}],
            "QueryStringParameters": [{"Key": "q", "Value": "1", "IsValueSecret": False}],
            "BodyParameters": [{"Key": "b", "Value": "hush", "IsValueSecret": True}],
        }
    }
    t.answers(
        "BASIC is authorized at once", events.create_connection(Name="basic", Description="用户 🔑", AuthorizationType="BASIC", AuthParameters={**BASIC, **more}),
        {"ConnectionArn": like(arn + "basic/" + ID), "ConnectionState": "AUTHORIZED", **times},
    )
    t.answers(
        "a connection is shown without secrets", events.describe_connection(Name="basic"),
        {
            "Name": "basic", "ConnectionArn": like(arn + "basic/" + ID), "Description": "用户 🔑", "ConnectionState": "AUTHORIZED", "AuthorizationType": "BASIC",
            "SecretArn": like(f"arn:aws:secretsmanager:us-east-1:{t.account}:secret:events!connection/basic/{ID}-[A-Za-z0-9]{{6}}"),
            "LastAuthorizedTime": SECOND, **times,
            "AuthParameters": {
                "BasicAuthParameters": {"Username": "user"},
                "InvocationHttpParameters": {
                    "HeaderParameters": [{"Key": "X-A", "Value": "open", "IsValueSecret": False}, {"Key": "X-B", "IsValueSecret": True}],
                    "QueryStringParameters": [{"Key": "q", "Value": "1", "IsValueSecret": False}],
                    "BodyParameters": [{"Key": "b", "IsValueSecret": True}],
                },
            },
        },
    )
    events.create_connection(
        Name="key", AuthorizationType="API_KEY",
        AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "hush"}, "InvocationHttpParameters": {}},
    )
    t.is_(
        "an API key is shown by its name, empty parameters as they were", events.describe_connection(Name="key")["AuthParameters"],
        {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key"}, "InvocationHttpParameters": {}},
    )
    t.answers(
        "OAuth is authorizing",
        events.create_connection(Name="oauth", AuthorizationType="OAUTH_CLIENT_CREDENTIALS", AuthParameters=oauth("http://127.0.0.1:1/token")),
        {"ConnectionArn": like(arn + "oauth/" + ID), "ConnectionState": "AUTHORIZING", **times},
    )
    t.until(
        "and says why while the endpoint cannot be reached",
        lambda: {k: events.describe_connection(Name="oauth").get(k) for k in ("ConnectionState", "StateReason", "LastAuthorizedTime")},
        {"ConnectionState": "AUTHORIZING", "StateReason": "Could not connect to the specified endpoint.", "LastAuthorizedTime": NEVER},
    )
    t.is_(
        "its client is shown by the id", events.describe_connection(Name="oauth")["AuthParameters"]["OAuthParameters"]["ClientParameters"], {"ClientID": "client"}
    )
    listed = events.list_connections()["Connections"]
    t.is_(
        "ListConnections leaves out parameters and secrets", sorted({k for c in listed for k in c}),
        ["AuthorizationType", "ConnectionArn", "ConnectionState", "CreationTime", "LastAuthorizedTime", "LastModifiedTime", "Name", "StateReason"],
    )
    for rule, filters, want in (
        ("by name", {}, ["basic", "key", "oauth"]), ("by prefix", {"NamePrefix": "k"}, ["key"]), ("by state", {"ConnectionState": "AUTHORIZING"}, ["oauth"]),
    ):
        t.is_(f"connections are listed {rule}", [c["Name"] for c in events.list_connections(**filters)["Connections"]], want)
    page = events.list_connections(Limit=1)
    t.is_("and in pages", [c["Name"] for c in events.list_connections(NextToken=page["NextToken"])["Connections"]], ["key", "oauth"])
    t.has(
        "UpdateConnection", events.update_connection(Name="basic", Description="new"), {"ConnectionState": "AUTHORIZED", "LastAuthorizedTime": SECOND, **times}
    )
    t.has("keeps what it does not name", events.describe_connection(Name="basic")["AuthParameters"], {"BasicAuthParameters": {"Username": "user"}})
    t.has("DeauthorizeConnection", events.deauthorize_connection(Name="basic"), {"ConnectionState": "DEAUTHORIZING", "ConnectionArn": like(arn + "basic/" + ID)})
    t.until("ends as DEAUTHORIZED", lambda: events.describe_connection(Name="basic")["ConnectionState"], "DEAUTHORIZED")
    t.lacks("and takes the credentials away", events.describe_connection(Name="basic"), "AuthParameters", "SecretArn")
    t.has("DeleteConnection", events.delete_connection(Name="basic"), {"ConnectionState": "DELETING"})

    for call in (events.describe_connection, events.update_connection, events.deauthorize_connection, events.delete_connection):
        t.refused(f"{call.__name__} of a missing connection", missing_connection("nix"), call, Name="nix")
    t.refused(
        "a connection is made once", ("ResourceAlreadyExistsException", "Connection key already exists."),
        events.create_connection, Name="key", AuthorizationType="BASIC", AuthParameters=BASIC,
    )
    t.refused(
        "a type is one of AWS's", invalid(("'INVALID'", "authorizationType", AUTHORIZATION_TYPES)),
        unchecked.create_connection, Name="c", AuthorizationType="INVALID", AuthParameters=BASIC,
    )
    bad = "!" * 65
    t.refused(
        "all that is wrong is said at once: pattern, length, enum",
        invalid(
            (f"'{bad}'", "name", pattern_rule(NAME)), (f"'{bad}'", "name", "Member must have length less than or equal to 64"),
            ("'INVALID'", "authorizationType", AUTHORIZATION_TYPES),
        ),
        unchecked.create_connection, Name=bad, AuthorizationType="INVALID", AuthParameters=BASIC,
    )


@story
def api_destinations(t):
    events, unchecked = t.client("events"), t.client("events", checked=False)
    connection = events.create_connection(Name="c", AuthorizationType="BASIC", AuthParameters=BASIC)["ConnectionArn"]
    waiting = events.create_connection(Name="o", AuthorizationType="OAUTH_CLIENT_CREDENTIALS", AuthParameters=oauth("http://127.0.0.1:1/"))["ConnectionArn"]
    good = {"Name": "d", "ConnectionArn": connection, "InvocationEndpoint": "https://example.com/orders/*/items/*?x=1", "HttpMethod": "POST"}
    arn = like(f"arn:aws:events:us-east-1:{t.account}:api-destination/d/{ID}")
    times = {"CreationTime": SECOND, "LastModifiedTime": SECOND}
    t.answers(
        "an API destination of an authorized connection is ACTIVE", events.create_api_destination(**good, Description="目标 🎯"),
        {"ApiDestinationArn": arn, "ApiDestinationState": "ACTIVE", **times},
    )
    t.answers(
        "its rate is shown also where none was given", events.describe_api_destination(Name="d"),
        {**good, "Description": "目标 🎯", "ApiDestinationArn": arn, "ApiDestinationState": "ACTIVE", "InvocationRateLimitPerSecond": 300, **times},
    )
    t.has(
        "one of a connection that is authorizing is INACTIVE", events.create_api_destination(**{**good, "Name": "w", "ConnectionArn": waiting}),
        {"ApiDestinationState": "INACTIVE"},
    )
    for rule, filters, want in (("by name", {}, ["d", "w"]), ("by prefix", {"NamePrefix": "w"}, ["w"]), ("by connection", {"ConnectionArn": connection}, ["d"])):
        t.is_(f"API destinations are listed {rule}", [d["Name"] for d in events.list_api_destinations(**filters)["ApiDestinations"]], want)
    page = events.list_api_destinations(Limit=1)
    t.is_("and in pages", [d["Name"] for d in events.list_api_destinations(NextToken=page["NextToken"])["ApiDestinations"]], ["w"])
    t.answers(
        "UpdateApiDestination", events.update_api_destination(Name="d", InvocationRateLimitPerSecond=7),
        {"ApiDestinationArn": arn, "ApiDestinationState": "ACTIVE", **times},
    )
    t.has("keeps what it does not name", events.describe_api_destination(Name="d"), {"InvocationRateLimitPerSecond": 7, "HttpMethod": "POST", "Description": "目标 🎯"})
    events.deauthorize_connection(Name="c")
    t.until("without credentials it is INACTIVE", lambda: events.describe_api_destination(Name="d")["ApiDestinationState"], "INACTIVE")
    events.delete_connection(Name="c")
    t.has("it stays when its connection goes", events.describe_api_destination(Name="d"), {"ApiDestinationState": "INACTIVE"})
    t.refused(
        "an API destination is made once", ("ResourceAlreadyExistsException", "An api-destination 'w' already exists."),
        events.create_api_destination, **{**good, "Name": "w", "ConnectionArn": waiting},
    )
    t.refused(
        "a method is one of AWS's",
        invalid(("'TRACE'", "httpMethod", "Member must satisfy enum value set: [HEAD, POST, PATCH, DELETE, PUT, GET, OPTIONS]")),
        unchecked.create_api_destination, **{**good, "HttpMethod": "TRACE"},
    )
    t.refused(
        "a rate is 1 at least", invalid(("'0'", "invocationRateLimitPerSecond", "Member must have value greater than or equal to 1")),
        unchecked.create_api_destination, **good, InvocationRateLimitPerSecond=0,
    )
    t.answers("DeleteApiDestination answers nothing", events.delete_api_destination(Name="d"), {})
    for call in (events.describe_api_destination, events.update_api_destination, events.delete_api_destination):
        t.refused(f"{call.__name__} of a missing one", missing_destination("d"), call, Name="d")


def destination(t, name, path, kind, parameters, method="POST", url=None, **target):
    """Makes an API destination at the recording web server, or a URL, and a rule that calls it."""
    events = t.client("events")
    connection = events.create_connection(Name=name, AuthorizationType=kind, AuthParameters=parameters)["ConnectionArn"]
    arn = events.create_api_destination(
        Name=name, ConnectionArn=connection, InvocationEndpoint=url or f"{t.cloud.web.url}/{t.account}{path}", HttpMethod=method
    )["ApiDestinationArn"]
    rule_to(t, arn, rule=name, RoleArn=ROLE(t.account), **target)
    return arn


@story
def invocations(t):
    web = t.cloud.web
    parameters = {
        "HeaderParameters": [{"Key": "X-Both", "Value": "connection"}], "QueryStringParameters": [{"Key": "q", "Value": "a b&c"}],
        "BodyParameters": [{"Key": "extra", "Value": "more"}],
    }
    destination(t, "basic", "/basic/*/end", "BASIC", {**BASIC, "InvocationHttpParameters": parameters}, HttpParameters={
        "PathParameterValues": ["$.detail.id"], "HeaderParameters": {"X-Both": "target", "X-Id": "$.id", "User-Agent": "mine"}, "QueryStringParameters": {"p": "$.detail.n"},
    })
    destination(t, "key", "/key", "API_KEY", {"ApiKeyAuthParameters": {"ApiKeyName": "X-Api-Key", "ApiKeyValue": "hush"}}, "PUT", InputPath="$.detail.id")
    [event_id] = put(t.client("events"), ("shop", "order 订单", {"id": "a/b 号", "n": 5}))
    for r in web.wait(t.account, "/basic"):
        body, headers = json.loads(r["body"]), r["headers"]
        t.is_("the method is the destination's", r["method"], "POST")
        t.is_("path values are escaped, taken from the event", r["path"], "/basic/a%2Fb%20%E5%8F%B7/end")
        t.is_("queries of target and connection are merged", sorted(r["query"]), [("p", "5"), ("q", "a b&c")])
        t.has("a connection's header wins, and AWS's own stay", headers, {
            "x-both": "connection", "x-id": event_id, "user-agent": "Amazon/EventBridge/ApiDestinations", "range": "bytes=0-1048575",
            "content-type": "application/json; charset=utf-8", "authorization": "Basic " + base64.b64encode(b"user:hush").decode(),
        })
        t.has("the body is the event with the connection's parameters", body, {"id": event_id, "detail-type": "order 订单", "extra": "more"})
    for r in web.wait(t.account, "/key"):
        t.is_("an API key is a header, the body what the input makes", (r["method"], r["headers"]["x-api-key"], r["body"]), ("PUT", "hush", '"a/b 号"'))
    t.is_("both were called, once", (len(web.wait(t.account, "/basic")), len(web.wait(t.account, "/key"))), (1, 1))


@story
def oauth_invocation(t):
    web, events = t.cloud.web, t.client("events")
    token = f"{web.url}/{t.account}/token"
    destination(
        t, "oauth", "/second-token/hook", "OAUTH_CLIENT_CREDENTIALS",
        oauth(token, OAuthHttpParameters={"BodyParameters": [{"Key": "scope", "Value": "a b"}], "HeaderParameters": [{"Key": "X-T", "Value": "1"}]}),
        RetryPolicy={"MaximumRetryAttempts": 2},
    )
    t.until("a connection is authorized by its token", lambda: events.describe_connection(Name="oauth")["ConnectionState"], "AUTHORIZED")
    t.has("which is when it says so", events.describe_connection(Name="oauth"), {"LastAuthorizedTime": SECOND})
    t.until("and its API destination ACTIVE", lambda: events.describe_api_destination(Name="oauth")["ApiDestinationState"], "ACTIVE")
    for r in web.wait(t.account, "/token"):
        form = sorted(part.split("=") for part in r["body"].split("&"))
        t.is_("the token request is a form with the client's credentials", (r["method"], r["headers"]["content-type"], form), (
            "POST", like("application/x-www-form-urlencoded.*"),
            [["client_id", "client"], ["client_secret", "hush"], ["grant_type", "client_credentials"], ["scope", like(r"a(\+|%20)b")]],
        ))
        t.is_("with the connection's headers", r["headers"].get("x-t"), "1")
    put(events, ("shop", "x", {}))
    calls = web.wait(t.account, "/second-token", 2)
    t.is_("after a 401 the next attempt has a new token", [r["headers"]["authorization"] for r in calls], ["Bearer token-1", "Bearer token-2"])


@story
def dead_letters(t):
    """What a dead-letter queue tells of a delivery that was given up."""
    events = t.client("events")
    dead = Queue(t, "dead")
    letters = {"DeadLetterConfig": {"Arn": dead.arn}}
    arn = f"arn:aws:events:us-east-1:{t.account}:"
    denied = Queue(t, "denied", attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "sqs:ReceiveMessage", "Resource": "*"},
    ]})})
    rule_to(t, f"arn:aws:sqs:us-east-1:{t.account}:nix", rule="missing", **letters)
    rule_to(t, denied.arn, rule="denied", Input='{"made":"here 订单"}', **letters)
    gone = destination(t, "gone", "/gone", "BASIC", BASIC, **letters)
    events.delete_api_destination(Name="gone")
    refused = destination(t, "refused", "/status/404/x", "BASIC", BASIC, **letters)
    moved = destination(t, "moved", "/status/302/x", "BASIC", BASIC, **letters)
    failing = destination(t, "failing", "/status/503/x", "BASIC", BASIC, RetryPolicy={"MaximumRetryAttempts": 1}, **letters)
    throttled = destination(t, "throttled", "/status/429/x", "BASIC", BASIC, RetryPolicy={"MaximumRetryAttempts": 0}, **letters)
    unreachable = destination(t, "unreachable", "", "BASIC", BASIC, url="http://127.0.0.1:1/", RetryPolicy={"MaximumRetryAttempts": 0}, **letters)
    slow = destination(t, "slow", "/slow", "BASIC", BASIC, RetryPolicy={"MaximumRetryAttempts": 0}, **letters)
    path = destination(t, "path", "/path/*/x", "BASIC", BASIC, HttpParameters={"PathParameterValues": ["$.detail.nix"]}, **letters)
    topic = f"arn:aws:sns:us-east-1:{t.account}:nix"
    rule_to(t, topic, rule="topic", **letters)
    group = f"arn:aws:logs:us-east-1:{t.account}:log-group:nix"
    rule_to(t, group, rule="group", **letters)
    foreign = f"arn:aws:events:us-east-1:{t.cloud.account()}:event-bus/default"
    rule_to(t, foreign, rule="foreign", RoleArn=ROLE(t.account), **letters)
    third = events.create_event_bus(Name="third")["EventBusArn"]
    second = events.create_event_bus(Name="second")["EventBusArn"]
    rule_to(t, second, rule="first-hop", RoleArn=ROLE(t.account))
    rule_to(t, third, rule="hop", bus="second", RoleArn=ROLE(t.account), **letters)
    put(events, ("shop", "x", {"a": 1}))
    got = {m["MessageAttributes"]["RULE_ARN"]["StringValue"].rpartition("/")[2]: m for m in dead.messages(14)}
    aws_sqs = "(Service: AmazonSQS; Status Code: {}; Error Code: {}; Request ID: .*; Proxy: null)"

    def sqs(status, code):
        return aws_sqs.format(status, code).replace("(", r"\(").replace(")", r"\)").replace(".Simple", r"\.Simple").replace(".Non", r"\.Non")

    exhausted = {"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts"}
    for rule, target, code, message, more in (
        (
            "missing", f"arn:aws:sqs:us-east-1:{t.account}:nix", "NO_RESOURCE",
            r"The specified queue does not exist or you do not have access to it\. " + sqs(400, "AWS.SimpleQueueService.NonExistentQueue"), {},
        ),
        (
            "denied", denied.arn, "NO_PERMISSIONS",
            rf"User: events\.amazonaws\.com is not authorized to perform: sqs:sendmessage on resource: {denied.arn} "
            r"because no resource-based policy allows the sqs:sendmessage action " + sqs(403, "AccessDenied"), {},
        ),
        ("gone", gone, "NO_RESOURCE", ".+", {}),
        ("refused", refused, "ERROR_FROM_TARGET", ".*404.*", {}),
        ("moved", moved, "ERROR_FROM_TARGET", ".*302.*", {}),
        ("failing", failing, "ERROR_FROM_TARGET", ".*503.*", {**exhausted, "RETRY_ATTEMPTS": "1"}),
        ("throttled", throttled, "THROTTLING", ".*429.*", {**exhausted, "RETRY_ATTEMPTS": "0"}),
        ("unreachable", unreachable, "CONNECTION_FAILURE", ".+", {**exhausted, "RETRY_ATTEMPTS": "0"}),
        ("slow", slow, "TIMEOUT", ".+", {**exhausted, "RETRY_ATTEMPTS": "0"}),
        ("path", path, "INVALID_PARAMETER", ".+", {}),
        ("topic", topic, "NO_RESOURCE", r".*\(Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: .*; Proxy: null\)", {}),
        ("group", group, "NO_RESOURCE", ".*The specified log group does not exist.*", {}),
        ("foreign", foreign, "NO_PERMISSIONS", ".+", {}),
        ("hop", third, "THIRD_ACCOUNT_HOP_DETECTED", ".+", {}),
    ):
        m = got.get(rule, {"MessageAttributes": {}, "Body": "<none came>"})
        t.is_(
            f"a delivery that is {rule}: why", {k: v["StringValue"] for k, v in m["MessageAttributes"].items()},
            {"RULE_ARN": f"{arn}rule/{'second/' if rule == 'hop' else ''}{rule}", "TARGET_ARN": target, "ERROR_CODE": code, "ERROR_MESSAGE": like(message), **more},
        )
        body = '{"made":"here 订单"}' if rule == "denied" else like(r'\{"version":"0",.*"detail":\{"a":1\}\}')
        t.is_(f"a delivery that is {rule}: what would have been sent", m["Body"], body)
        t.is_(f"a delivery that is {rule}: attributes are strings", {v["DataType"] for v in m["MessageAttributes"].values()}, {"String"})
    t.is_("what may be tried again was", len(t.cloud.web.wait(t.account, "/status/503", 3, seconds=0)), 2)
    t.is_("and nothing else", len(t.cloud.web.wait(t.account, "/status/404", 2, seconds=0)), 1)

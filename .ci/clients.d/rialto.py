"""Plays stories with rialto's own commands beside boto3: rialto.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME]."""

import datetime
import json
import os
import sys
import tempfile

import check
from check import like, story
from cloud import ROLE, Cloud, Queue, function, invoke, put, rule_to
from command import rialto, shown


def api_destination(t, name, client, url, token_url):
    """An OAuth API destination of the story's account, the target of rule name."""
    events = t.client("events")
    connection = events.create_connection(
        Name=name, AuthorizationType="OAUTH_CLIENT_CREDENTIALS",
        AuthParameters={
            "OAuthParameters": {
                "ClientParameters": {"ClientID": client[0], "ClientSecret": client[1]}, "AuthorizationEndpoint": token_url, "HttpMethod": "POST",
                "OAuthHttpParameters": {"BodyParameters": [{"Key": "grant_type", "Value": "client_credentials"}]},
            }
        },
    )["ConnectionArn"]
    arn = events.create_api_destination(Name=name, ConnectionArn=connection, InvocationEndpoint=url, HttpMethod="POST")["ApiDestinationArn"]
    t.until(f"the connection of {name} is authorized here", lambda: events.describe_connection(Name=name)["ConnectionState"], "AUTHORIZED")
    return arn


@story
def rule_test(t):
    event = {
        "version": "0", "id": "1", "detail-type": "order", "source": "shop", "account": t.account, "time": "2026-01-02T03:04:05Z", "region": "us-east-1",
        "resources": [], "detail": {"城市": "上海", "n": 5},
    }
    text = json.dumps(event, ensure_ascii=False)
    events = t.client("events")
    for pattern, matches in (
        ('{"source":["shop"],"detail":{"城市":[{"prefix":"上"}]}}', True), ('{"detail":{"n":[{"numeric":[">",5]}]}}', False), ('{"detail":{"x":[{"exists":false}]}}', True),
    ):
        server = events.test_event_pattern(EventPattern=pattern, Event=text)["Result"]
        code, _ = rialto(t, "rule", "test", "--pattern", pattern, "-", stdin=text)
        t.is_(f"rule test and TestEventPattern agree on {pattern}", (server, code), (matches, 0 if matches else 1))
    bad = '{"source":"shop"}'
    try:
        events.put_rule(Name="r", EventPattern=bad)
        said = ""
    except events.exceptions.InvalidEventPatternException as e:
        said = e.response["Error"]["Message"]
    t.is_("they refuse a bad pattern in the same words", rialto(t, "rule", "test", "--pattern", bad, "-", stdin=text), (2, f"rialto: {said}\n"))
    q = Queue(t)
    transformer = {"InputPathsMap": {"c": "$.detail.n", "w": "$.detail"}, "InputTemplate": '{"n": <c>, "all": <w>, "rule": "<aws.events.rule-name>"}'}
    rule_to(t, q.arn, InputTransformer=transformer)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, got in (("rule", events.describe_rule(Name="r")), ("targets", events.list_targets_by_rule(Rule="r"))):
            files[name] = os.path.join(folder, name)
            with open(files[name], "w", encoding="utf-8") as f:
                json.dump(check.answer(got), f)
        tried = shown(t, "rule", "test", "--rule", files["rule"], "--targets", files["targets"], "-", stdin=text)
    put(events, ("shop", "order", event["detail"]))
    t.is_("a rule that exists is tried as it then delivers", [b["body"] for e in tried for b in e["bodies"]], q.bodies())


@story
def trace_and_dead_letters(t):
    queue = f"arn:aws:sqs:us-east-1:{t.account}:later"
    events = rule_to(t, queue, rule="orders")
    [event_id] = put(events, ("shop", "order 订单", {"n": 1}))
    code, out = rialto(t, "trace", event_id, "--follow")
    t.is_("the trace of an event that PutEvents took tells its failure", (code, "NO_RESOURCE" in out, f"Event {event_id}: not all delivered" in out), (1, True, True))
    letters = t.until("what no queue takes is kept", lambda: [(x["code"], x["event_id"]) for x in shown(t, "dead-letters", "list")], [("NO_RESOURCE", event_id)])
    q = Queue(t, "later")
    t.is_("for this account alone", shown(t, "dead-letters", "list", account=t.cloud.account()), [])
    if letters:
        letter = shown(t, "dead-letters", "list")[0]["id"]
        t.is_("it is redriven", rialto(t, "dead-letters", "redrive", str(letter))[0], 0)
        t.is_("and arrives as the event that it was", [(e["id"], e["detail-type"]) for e in q.events()], [(event_id, "order 订单")])
    t.until("the list is empty then", lambda: shown(t, "dead-letters", "list"), [])
    t.is_("and the trace complete", (rialto(t, "trace", event_id, "--follow")[0], shown(t, "trace", event_id)["status"]), (0, "delivered"))


@story
def replays(t):
    events = t.client("events")
    bus = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    # What the calls themselves leave on the bus is not of this story.
    archive = events.create_archive(ArchiveName="all", EventSourceArn=bus, EventPattern='{"source":["shop"]}')["ArchiveArn"]
    put(events, ("shop", "a", {}), ("shop", "b", {}))
    t.until("events are archived", lambda: events.describe_archive(ArchiveName="all")["EventCount"], 2)
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    events.start_replay(ReplayName="again", EventSourceArn=archive, EventStartTime=now - hour, EventEndTime=now + hour, Destination={"Arn": bus})
    t.has("replay show follows a replay to its end", shown(t, "replay", "show", "again", "--follow"), {"name": "again", "state": "COMPLETED", "replayed": 2, "total": 2})
    t.is_("replay list has it", [(r["name"], r["state"]) for r in shown(t, "replay", "list")], [("again", "COMPLETED")])


@story
def function_logs(t):
    client, _ = function(t)
    invoke(client, {"city": "上海 🛒"})

    def logged():
        code, out = rialto(t, "function", "logs", "orders", "--filter", "got")
        return code, [line.split("  ", 1)[-1] for line in out.splitlines()]

    t.until("function logs shows what a function prints", logged, (0, ['got {"city": "上海 🛒"}']))
    t.is_("function list lists it", [(f["name"], f["runtime"]) for f in shown(t, "function", "list")], [("orders", "python3.12")])


@story
def put_as_it_is(t):
    q = Queue(t)
    rule_to(t, q.arn, pattern='{"source":["aws.ec2"]}')
    event = {"id": "kept 号", "source": "aws.ec2", "detail-type": "x", "time": "2026-01-02T03:04:05Z", "account": t.account, "region": "us-east-1", "detail": {"a": "🛒"}}
    code, _ = rialto(t, "put", "-", stdin=json.dumps(event))
    got = q.events()
    t.is_("rialto put takes events of AWS's services as they are", (code, [{k: e[k] for k in event} for e in got]), (0, [event]))


@story
def source(t):
    """Events that come in by the endpoint of a source, sent by an API destination as AWS's would."""
    theirs, name = t.cloud.account(), f"aws-{t.account}"
    made = shown(t, "source", "add", name, "--allow-account", t.account, "--bus", f"arn:aws:events:us-east-1:{theirs}:event-bus/default", account="000000000000")
    arn = api_destination(t, "source", (made["client_id"], made["client_secret"]), made["endpoint_url"], made["token_url"])
    q = Queue(t, account=theirs)
    inside = t.client("events", account=theirs)
    inside.put_rule(Name="r", EventPattern='{"source":["shop"]}')
    inside.put_targets(Rule="r", Targets=[{"Id": "t", "Arn": q.arn}])
    events = rule_to(t, arn, rule="out", RoleArn=ROLE(t.account))
    [event_id] = put(events, ("shop", "order 订单", {"城市": "上海"}))
    t.is_(
        "an event comes out as it went in", [(e["id"], e["account"], e["detail-type"], e["detail"]) for e in q.events()],
        [(event_id, t.account, "order 订单", {"城市": "上海"})],
    )
    t.until("the source counts it", lambda: shown(t, "source", "show", name, account="000000000000")["activity"]["accepted"], 1)


@story
def webhook(t):
    """The inventory's webhook, called by an OAuth API destination."""
    project = f"p{t.account}"
    for arguments in (("project", "create", project), ("account", "add", t.account, "--project", project, "--region", "us-east-1")):
        code, out = rialto(t, "inventory", *arguments)
        t.is_(f"rialto inventory {arguments[0]} {arguments[1]}", (code, out if code else ""), (0, ""))
    made = shown(t, "inventory", "account", "monitor", t.account, "--project", project)
    t.is_("monitor makes a credential", (made["client_id"], made["webhook_url"]), (like(".+"), like(t.cloud.url + ".+")))
    arn = api_destination(t, "inventory", (made["client_id"], made["client_secret"]), made["webhook_url"], t.cloud.url + "/v1/oauth_token")
    rule_to(t, arn, rule="ec2", pattern='{"source":["aws.ec2"]}', RoleArn=ROLE(t.account))
    ec2 = t.client("ec2")
    ids = [i["InstanceId"] for i in ec2.run_instances(ImageId="ami-0abcdef1234567890", MinCount=2, MaxCount=2)["Instances"]]

    def servers():
        return sorted(s["instance_id"] for s in shown(t, "inventory", "servers", "--project", project))

    t.until("instances that start are in the inventory", servers, sorted(ids))
    ec2.terminate_instances(InstanceIds=ids[:1])
    t.until("and gone when they end", servers, ids[1:])


if __name__ == "__main__":
    check.main(Cloud(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=6)

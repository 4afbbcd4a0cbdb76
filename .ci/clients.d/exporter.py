"""Plays the exporter with rialto's commands beside boto3: exporter.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME].

The server is for these stories alone: an installation has one exporter. They play
one after another, as a user would, in the account 000000000000.
"""

import json
import os
import sys
import tempfile

import check
import command
from check import TEXT, Matcher, like, story
from cloud import Cloud

ACCOUNT = "000000000000"
KINDS = ("AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::CloudFormation::Stack", "AWS::EC2::Instance", "AWS::ECS::Cluster")
folder = tempfile.mkdtemp()


def rialto(t, *arguments, **more):
    return command.rialto(t, *arguments, account=ACCOUNT, folder=folder, **more)


def shown(t, *arguments, **more):
    return command.shown(t, *arguments, account=ACCOUNT, folder=folder, **more)


def entities(t, blueprint):
    return {e["identifier"]: e for e in shown(t, "catalog", "get", blueprint)}


def follows(t, rule, blueprint, look, want):
    """What look makes of a blueprint's entities must become want."""
    t.until(rule, lambda: look(entities(t, blueprint)), want, seconds=15)


def arn(service, what, region="us-east-1"):
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{what}"


def client(t, service, region=None):
    return t.client(service, region, ACCOUNT)


def deploy(t, name, template, region=None):
    stacks = client(t, "cloudformation", region)
    stacks.create_stack(StackName=name, TemplateBody=template)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


@story
def install(t):
    code, out = rialto(t, "exporter", "install", "--region", "us-east-1", "--region", "eu-west-1")
    t.is_("the queue is deployed to both regions", (code, out.count("CREATE_COMPLETE")), (0, 2))
    exports = {e["Name"]: e["Value"] for e in client(t, "cloudformation").list_exports()["Exports"]}
    t.is_("its ARN is exported", exports.get("serverlessrepo-port-aws-exporter-EventsQueueARN"), like(arn("sqs", ".*")))
    t.is_("installing again changes nothing", rialto(t, "exporter", "install", "--region", "us-east-1")[0], 0)
    t.is_("the first files are written", rialto(t, "exporter", "init", *KINDS, "--region", "us-east-1", "--region", "eu-west-1")[0], 0)
    t.is_("and not written over", rialto(t, "exporter", "init", *KINDS)[0] != 0, True)
    t.is_("blueprints are applied", rialto(t, "catalog", "apply", "-f", "blueprints.json")[0], 0)
    t.is_("the configuration is set", rialto(t, "exporter", "config", "set", "config.json")[0], 0)
    code, rules = rialto(t, "exporter", "rules")
    t.is_("event rules are made of it", (code, '"errorCode": [{"exists": false}]' in rules), (0, True))
    with open(os.path.join(folder, "rules.yaml"), "w", encoding="utf-8") as f:
        f.write(rules)
    t.is_("and nothing is wrong with any of it", rialto(t, "exporter", "lint", "--config", "config.json", "--rules", "rules.yaml")[0], 0)
    for region in ("us-east-1", "eu-west-1"):
        deploy(t, "rules", rules, region)
    shown(t, "exporter", "sync", "run")


@story
def queues_and_topics(t):
    for region in ("us-east-1", "eu-west-1"):
        sqs, name = client(t, "sqs", region), arn("sqs", "orders", region)
        url = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "33"})["QueueUrl"]
        follows(t, f"a queue of {region} becomes an entity", "sqs_queue", lambda all: name in all, True)
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "44"})
        follows(t, f"a change of it in {region} is followed", "sqs_queue", lambda all: 44 in (all.get(name) or {"properties": {}})["properties"].values(), True)
        sqs.delete_queue(QueueUrl=url)
        follows(t, f"its deletion in {region} is followed", "sqs_queue", lambda all: name in all, False)
    sns, topic = client(t, "sns"), arn("sns", "news")
    sns.create_topic(Name="news")
    follows(t, "a topic becomes an entity", "sns_topic", lambda all: topic in all, True)
    sns.delete_topic(TopicArn=topic)
    follows(t, "until it is deleted", "sns_topic", lambda all: topic in all, False)


@story
def instances_and_stacks(t):
    ec2 = client(t, "ec2")
    made = [i["InstanceId"] for i in ec2.run_instances(ImageId="ami-0abcdef1234567890", MinCount=3, MaxCount=3)["Instances"]]
    follows(t, "instances become entities", "ec2_instance", lambda all: sorted(all), sorted(made))
    ec2.create_tags(Resources=made, Tags=[{"Key": "Name", "Value": "城市 🛒"}])
    follows(t, "tags of many at once reach all of them", "ec2_instance", lambda all: {e["title"] for e in all.values()}, {"城市 🛒"})
    ec2.terminate_instances(InstanceIds=made[:2])
    follows(t, "terminated ones go", "ec2_instance", lambda all: sorted(all), made[2:])
    deploy(t, "cluster", json.dumps({"Resources": {"C": {"Type": "AWS::ECS::Cluster", "Properties": {"ClusterName": "shop"}}}}))
    follows(t, "a stack becomes an entity", "cloudformation_stack", lambda all: "cluster" in {e["title"] for e in all.values()}, True)
    follows(t, "and the cluster that it made", "ecs_cluster", lambda all: [e["title"] for e in all.values()], ["shop"])
    client(t, "cloudformation").delete_stack(StackName="cluster")
    follows(t, "both go with the stack", "ecs_cluster", lambda all: list(all), [])
    follows(t, "the stack itself too", "cloudformation_stack", lambda all: "cluster" in {e["title"] for e in all.values()}, False)


@story
def provenance(t):
    sqs, name = client(t, "sqs"), arn("sqs", "traced")
    url = sqs.create_queue(QueueName="traced")["QueueUrl"]
    follows(t, "a queue becomes an entity", "sqs_queue", lambda all: name in all, True)
    history = shown(t, "catalog", "history", "sqs_queue", name)
    event = json.dumps(history[0])
    t.is_("its history names the event and the rule that it came of", ('"exporter-event"' in event, "rule/" in event), (True, True))
    event_id = history[0]["additionalData"]["cause"]["event_id"]
    t.is_("and that event can be traced", rialto(t, "trace", event_id)[0], 0)
    sqs.delete_queue(QueueUrl=url)
    follows(t, "the queue goes", "sqs_queue", lambda all: name in all, False)


@story
def failed_calls(t):
    sqs, name = client(t, "sqs"), arn("sqs", "stays")
    url = sqs.create_queue(QueueName="stays")["QueueUrl"]
    follows(t, "a queue becomes an entity", "sqs_queue", lambda all: name in all, True)
    before = shown(t, "catalog", "history", "sqs_queue", name)
    try:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "99999"})
    except sqs.exceptions.ClientError:
        pass
    sqs.tag_queue(QueueUrl=url, Tags={"after": "it"})
    t.until("a failed call changes nothing, the one after it does", lambda: len(shown(t, "catalog", "history", "sqs_queue", name)) - len(before), 1)
    sqs.delete_queue(QueueUrl=url)
    follows(t, "the queue goes", "sqs_queue", lambda all: name in all, False)


@story
def dead_records(t):
    sqs = client(t, "sqs")
    queue = next(u for u in sqs.list_queues()["QueueUrls"] if "-EventsQueue-" in u)
    sqs.create_queue(QueueName="good")
    bad = {"not JSON": "nonsense", "an unknown kind": json.dumps({"resource_type": "AWS::No::Thing", "region": '"us-east-1"', "identifier": '"x"'}), "bad jq": json.dumps({"resource_type": "AWS::SQS::Queue", "region": '"us-east-1"', "identifier": ".a |"})}
    for body in bad.values():
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    t.until("bad records are kept, with why", lambda: sorted(r.get("body", "") for r in shown(t, "exporter", "records", "list")), sorted(bad.values()))
    follows(t, "and hold up no good one", "sqs_queue", lambda all: arn("sqs", "good") in all, True)
    listed = shown(t, "exporter", "records", "list")
    t.is_("each says why", all(r.get("reason") for r in listed), True)
    t.is_("one is redriven", rialto(t, "exporter", "records", "redrive", str(listed[0]["id"]))[0], 0)
    t.until("and comes back, as it is no better", lambda: len(shown(t, "exporter", "records", "list")), 3)
    t.is_("all are deleted", rialto(t, "exporter", "records", "delete", "--all")[0], 0)
    t.until("and the list is empty", lambda: shown(t, "exporter", "records", "list"), [])
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="good")["QueueUrl"])
    follows(t, "the good queue goes", "sqs_queue", lambda all: arn("sqs", "good") in all, False)


@story
def full_sync(t):
    run = shown(t, "exporter", "sync", "run", "--grace", "0s")
    t.has("after all of this the events missed nothing", run, {"status": "succeeded", "created": 0, "updated": 0, "removed": 0, "drift": 0})
    events = client(t, "events")
    rule = next(r["Name"] for r in events.list_rules()["Rules"] if "sqs" in r["Name"].lower())
    events.disable_rule(Name=rule)
    sqs = client(t, "sqs")
    sqs.create_queue(QueueName="silent")
    run = shown(t, "exporter", "sync", "run", "--grace", "0s", "--dry-run")
    t.has("a dry run tells of what is missing", run, {"status": "succeeded", "created": 1})
    t.is_("and changes nothing", arn("sqs", "silent") in entities(t, "sqs_queue"), False)
    run = shown(t, "exporter", "sync", "run", "--grace", "0s")
    t.has("the full sync adds it", run, {"status": "succeeded", "created": 1, "drift": 1})
    events.enable_rule(Name=rule)  # not before: the call's event may be on its way until now
    drift = shown(t, "exporter", "sync", "drift", run["id"])
    t.is_("and reports the lost event", [(d["missed"], d["kind"], d["region"], d["since"]) for d in drift], [("create", "AWS::SQS::Queue", "us-east-1", TEXT)])
    fresh = {(f["region"], f["kind"]): f["status"] for f in shown(t, "exporter", "freshness")}
    t.is_("which freshness shows as broken, there alone", (fresh[("us-east-1", "AWS::SQS::Queue")], fresh[("eu-west-1", "AWS::SQS::Queue")]), (Matcher("not ok", lambda s: s != "ok"), "ok"))
    t.is_("runs are listed", [r["status"] for r in shown(t, "exporter", "sync", "runs")][:2], ["succeeded", "succeeded"])


@story
def uninstall(t):
    for region in ("us-east-1", "eu-west-1"):
        stacks = client(t, "cloudformation", region)
        stacks.delete_stack(StackName="rules")
        stacks.get_waiter("stack_delete_complete").wait(StackName="rules", WaiterConfig={"Delay": 1})
    code, out = rialto(t, "exporter", "uninstall", "--region", "us-east-1", "--region", "eu-west-1")
    t.is_("the queues are taken away", (code, client(t, "cloudformation").list_exports()["Exports"]), (0, []))


if __name__ == "__main__":
    check.main(Cloud(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=1)

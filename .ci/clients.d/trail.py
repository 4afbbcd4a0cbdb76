"""The events of API calls, as rules get them."""

import json

from check import TEXT, UUID, like, story
from cloud import Queue, rule_to

DETAIL_TYPE = "AWS API Call via CloudTrail"


def calls(*names):
    return json.dumps({"detail-type": [DETAIL_TYPE], "detail": {"eventName": [{"prefix": n} for n in names]}})


@story
def calls_leave_events(t):
    q = Queue(t)
    rule_to(t, q.arn, pattern=calls("CreateTopic", "DeleteTopic"))
    sns = t.client("sns")
    made = sns.create_topic(Name="orders", Tags=[{"Key": "team", "Value": "网 🛒"}])
    (e,) = q.events(1)
    t.has("a call leaves an event", e, {"source": "aws.sns", "detail-type": DETAIL_TYPE, "account": t.account, "region": "us-east-1", "resources": []})
    d = e["detail"]
    t.is_(
        "with CloudTrail's members", sorted(d),
        sorted(
            ["eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "requestParameters"]
            + ["responseElements", "requestID", "eventID", "readOnly", "eventType", "managementEvent", "recipientAccountId", "eventCategory"]
        ),
    )
    t.has(
        "which say what was called, by whom and what came of it", d,
        {
            "eventName": "CreateTopic", "eventSource": "sns.amazonaws.com", "requestParameters": {"name": "orders", "tags": [{"key": "team", "value": "网 🛒"}]},
            "responseElements": {"topicArn": made["TopicArn"]}, "requestID": made["ResponseMetadata"]["RequestId"], "eventID": UUID, "readOnly": False,
            "eventTime": e["time"], "userAgent": like(".*[Bb]oto.*"), "sourceIPAddress": "127.0.0.1", "recipientAccountId": t.account,
        },
    )
    t.is_("the user is the one that STS tells of", d["userIdentity"]["arn"], t.client("sts").get_caller_identity()["Arn"])
    t.refused("a topic with a name that is none", ("InvalidParameter", TEXT), sns.create_topic, Name="a b")
    (e,) = q.events(1)
    t.has("a refused call leaves one too", e["detail"], {"errorCode": TEXT, "errorMessage": TEXT, "responseElements": None, "requestParameters": {"name": "a b"}})


@story
def reads_leave_events_for_those_who_ask(t):
    q, sqs, events = Queue(t), t.client("sqs"), t.client("events")
    pattern = calls("GetQueueAttributes", "TagQueue")
    rule_to(t, q.arn, pattern=pattern)
    url = sqs.create_queue(QueueName="read")["QueueUrl"]
    sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    sqs.tag_queue(QueueUrl=url, Tags={"k": "v"})
    t.is_("a plain rule gets changes only", [e["detail"]["eventName"] for e in q.events(1)], ["TagQueue"])
    events.put_rule(Name="r", EventPattern=pattern, State="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")
    sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    (e,) = q.events(1)
    t.has(
        "one that asks for reads gets them", e["detail"],
        {"eventName": "GetQueueAttributes", "readOnly": True, "requestParameters": {"attributeNames": ["All"], "queueUrl": url}, "responseElements": None},
    )


@story
def instances_are_told_of_in_sets(t):
    q, ec2 = Queue(t), t.client("ec2")
    rule_to(
        t, q.arn, pattern=calls("CreateTags", "DeleteTags"),
        InputTransformer={"InputPathsMap": {"id": "$.detail.requestParameters.resourcesSet.items[0].resourceId"}, "InputTemplate": '{"id": "<id>"}'},
    )
    (i,) = ec2.run_instances(ImageId="ami-0abcdef1234567890", MinCount=1, MaxCount=1)["Instances"]
    ec2.create_tags(Resources=[i["InstanceId"]], Tags=[{"Key": "Name", "Value": "web"}])
    t.is_("a transformer finds the instance", q.events(1), [{"id": i["InstanceId"]}])

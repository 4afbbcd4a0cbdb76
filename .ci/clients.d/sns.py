"""SNS: topics, subscriptions and what endpoints receive. Its answers are XML."""

import json
import urllib.request

from check import UUID, answer, like, story
from cloud import Queue, put, rule_to

NO_TOPIC = ("NotFound", "Topic does not exist")
NO_SUBSCRIPTION = ("NotFound", "Subscription does not exist")
STAMP = like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def topic(t, name="orders", **more):
    return t.client("sns").create_topic(Name=name, **more)["TopicArn"]


@story
def topics(t):
    sns, unchecked = t.client("sns"), t.client("sns", checked=False)
    arn = f"arn:aws:sns:us-east-1:{t.account}:orders"
    t.answers("CreateTopic answers with the ARN", sns.create_topic(Name="orders", Tags=[{"Key": "team", "Value": "商店"}]), {"TopicArn": arn})
    t.answers("making it again answers the same", sns.create_topic(Name="orders"), {"TopicArn": arn})
    got = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    t.has(
        "attributes are texts", got,
        {"TopicArn": arn, "Owner": t.account, "DisplayName": "", "SubscriptionsConfirmed": "0", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0"},
    )
    t.is_("the policy is of the owner", json.loads(got["Policy"])["Statement"][0]["Resource"], arn)
    t.is_("the delivery policy in force is told", "http" in json.loads(got["EffectiveDeliveryPolicy"]), True)
    t.answers("SetTopicAttributes answers nothing", sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="订单 <&> 🛒"), {})
    t.has("and sets text of any language", sns.get_topic_attributes(TopicArn=arn)["Attributes"], {"DisplayName": "订单 <&> 🛒"})
    t.answers("tags", sns.list_tags_for_resource(ResourceArn=arn), {"Tags": [{"Key": "team", "Value": "商店"}]})
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["team"])
    t.answers("are added and taken away", sns.list_tags_for_resource(ResourceArn=arn), {"Tags": [{"Key": "a", "Value": "1"}]})
    t.answers("topics are listed", sns.list_topics(), {"Topics": [{"TopicArn": arn}]})
    for rule, want, call, more, status in (
        ("a missing topic", NO_TOPIC, sns.get_topic_attributes, {"TopicArn": arn + "x"}, 404),
        ("publishing to it", NO_TOPIC, sns.publish, {"TopicArn": arn + "x", "Message": "m"}, 404),
        ("subscribing to it", NO_TOPIC, sns.subscribe, {"TopicArn": arn + "x", "Protocol": "sqs", "Endpoint": f"arn:aws:sqs:us-east-1:{t.account}:q"}, 404),
        ("tags of it", ("ResourceNotFound", "Resource does not exist"), sns.list_tags_for_resource, {"ResourceArn": arn + "x"}, 404),
        ("an ARN that is none", ("InvalidParameter", like("Invalid parameter: TopicArn.*")), sns.get_topic_attributes, {"TopicArn": "nix"}, 400),
        ("a name that is none", ("InvalidParameter", "Invalid parameter: Topic Name"), sns.create_topic, {"Name": "a b"}, 400),
        ("an attribute that is none", ("InvalidParameter", "Invalid parameter: AttributeName"), sns.set_topic_attributes, {"TopicArn": arn, "AttributeName": "Nix", "AttributeValue": "1"}, 400),
        ("an empty message", ("InvalidParameter", "Invalid parameter: Empty message"), sns.publish, {"TopicArn": arn, "Message": ""}, 400),
        ("no topic", ("InvalidParameter", "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"), sns.publish, {"Message": "m"}, 400),
        ("a message that is too long", ("InvalidParameter", "Invalid parameter: Message too long"), sns.publish, {"TopicArn": arn, "Message": "m" * 262145}, 400),
        (
            "a structure that is none", ("InvalidParameter", "Invalid parameter: Message Structure - JSON message body failed to parse"),
            sns.publish, {"TopicArn": arn, "Message": "{", "MessageStructure": "json"}, 400,
        ),
        (
            "a structure without default", ("InvalidParameter", "Invalid parameter: Message Structure - No default entry in JSON message body"),
            sns.publish, {"TopicArn": arn, "Message": "{}", "MessageStructure": "json"}, 400,
        ),
        ("no name", ("ValidationError", like("1 validation error detected: .*")), unchecked.create_topic, {}, 400),
    ):
        t.refused(rule, want, call, status=status, **more)
    try:
        sns.get_subscription_attributes(SubscriptionArn=arn + ":0f0f0f0f-0000-4000-8000-000000000001")
        code = "none"
    except sns.exceptions.NotFoundException as e:
        code = e.response["Error"]["Message"]
    t.is_("clients have a class for what is missing", code, "Subscription does not exist")
    t.answers("DeleteTopic answers nothing", sns.delete_topic(TopicArn=arn), {})
    t.answers("deleting what is not there succeeds", sns.delete_topic(TopicArn=arn), {})


@story
def topic_paging(t):
    sns = t.client("sns")
    arns = [topic(t, f"topic-{i:03}") for i in range(105)]
    pages = [[x["TopicArn"] for x in p["Topics"]] for p in sns.get_paginator("list_topics").paginate()]
    t.is_("topics come a hundred a page, each once", (pages[0] + pages[1], len(pages[0]), len(pages)), (arns, 100, 2))
    for i in range(103):
        sns.subscribe(TopicArn=arns[0], Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{t.account}:q{i}")
    sns.subscribe(TopicArn=arns[1], Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:{t.account}:q")
    pages = list(sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arns[0]))
    t.is_("so do the subscriptions of a topic", [len(p["Subscriptions"]) for p in pages], [100, 3])
    ends = {s["Endpoint"] for p in sns.get_paginator("list_subscriptions").paginate() for s in p["Subscriptions"]}
    t.is_("and those of an account", len(ends), 104)
    again = sns.list_subscriptions_by_topic(TopicArn=arns[0], NextToken=pages[0]["NextToken"])
    t.is_("a token can be used again", answer(again), answer(pages[1]))


@story
def queue_subscriptions(t):
    sns, arn = t.client("sns"), topic(t)
    plain, raw, filtered = Queue(t, "plain"), Queue(t, "raw"), Queue(t, "filtered")
    got = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=plain.arn)
    t.answers("a queue is subscribed at once", got, {"SubscriptionArn": like(arn + ":" + "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")})
    t.answers("again it is the same", sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=plain.arn), answer(got))
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=raw.arn, Attributes={"RawMessageDelivery": "true"})
    policy = {"kind": ["order", {"prefix": "re"}], "n": [{"numeric": [">", 5]}]}
    sub = sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=filtered.arn, Attributes={"FilterPolicy": json.dumps(policy)})["SubscriptionArn"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=sub)["Attributes"]
    t.has(
        "attributes of a subscription are texts", attributes,
        {
            "SubscriptionArn": sub, "TopicArn": arn, "Owner": t.account, "Protocol": "sqs", "Endpoint": filtered.arn, "PendingConfirmation": "false",
            "ConfirmationWasAuthenticated": "true", "RawMessageDelivery": "false", "FilterPolicyScope": "MessageAttributes",
        },
    )
    t.is_("the filter policy among them", json.loads(attributes["FilterPolicy"]), policy)
    t.is_("subscriptions are counted", sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SubscriptionsConfirmed"], "3")
    values = {
        "kind": {"DataType": "String", "StringValue": "return 退"}, "n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\0\xff"},
    }
    message = "Grüße 世界 🌍 <&>\n\"'"
    sent = sns.publish(TopicArn=arn, Message=message, Subject="Hallo", MessageAttributes=values)
    t.answers("Publish answers with the id", sent, {"MessageId": UUID})
    wire = {"kind": {"Type": "String", "Value": "return 退"}, "n": {"Type": "Number", "Value": "7"}, "b": {"Type": "Binary", "Value": "AP8="}}
    for rule, q in (("a queue gets AWS's document", plain), ("one whose filter lets it through too", filtered)):
        for body in q.events():
            t.has(
                rule, body,
                {
                    "Type": "Notification", "MessageId": sent["MessageId"], "TopicArn": arn, "Subject": "Hallo", "Message": message, "Timestamp": STAMP,
                    "SignatureVersion": "1", "Signature": like(".{100,}"), "SigningCertURL": like("http.*"), "UnsubscribeURL": like("http.*Unsubscribe.*"), "MessageAttributes": wire,
                },
            )
    for m in raw.messages():
        t.is_("with raw delivery the message itself, and its attributes", (m["Body"], m.get("MessageAttributes")), (message, values))
    sns.publish(TopicArn=arn, Message="second", MessageAttributes={**values, "n": {"DataType": "Number", "StringValue": "5"}})
    sns.publish(TopicArn=arn, Message="third")
    t.is_("raw and plain get all", (sorted(raw.bodies(2)), sorted(e["Message"] for e in plain.events(2))), (["second", "third"],) * 2)
    t.is_("a filter lets no other through", filtered.messages(1, seconds=0.2), [])
    sns.set_subscription_attributes(SubscriptionArn=sub, AttributeName="FilterPolicyScope", AttributeValue="MessageBody")
    sns.set_subscription_attributes(SubscriptionArn=sub, AttributeName="FilterPolicy", AttributeValue='{"city":[{"wildcard":"上*"}]}')
    for body in ('{"city":"上海"}', '{"city":"北京"}', "no JSON"):
        sns.publish(TopicArn=arn, Message=body)
    t.is_("a filter may be of the body", [e["Message"] for e in filtered.events(2, seconds=2)], ['{"city":"上海"}'])
    by_protocol = json.dumps({"default": "for all", "sqs": "for queues"})
    raw.messages(3)
    sns.publish(TopicArn=arn, Message=by_protocol, MessageStructure="json")
    t.is_("a message may differ by protocol", raw.bodies(), ["for queues"])
    t.refused(
        "a filter policy that is none", ("InvalidParameter", like("Invalid parameter: .*FilterPolicy.*")), sns.set_subscription_attributes,
        SubscriptionArn=sub, AttributeName="FilterPolicy", AttributeValue='{"a":"b"}',
    )
    t.refused("a protocol that is none", ("InvalidParameter", "Invalid parameter: Amazon SNS does not support this protocol string: nix"), sns.subscribe, TopicArn=arn, Protocol="nix", Endpoint="x")
    t.refused("an endpoint that is none", ("InvalidParameter", "Invalid parameter: SQS endpoint ARN"), sns.subscribe, TopicArn=arn, Protocol="sqs", Endpoint="x")
    t.answers("Unsubscribe answers nothing", sns.unsubscribe(SubscriptionArn=sub), {})
    t.refused("and the subscription is gone", NO_SUBSCRIPTION, sns.get_subscription_attributes, SubscriptionArn=sub, status=404)


@story
def publish_batches(t):
    sns, unchecked, arn = t.client("sns"), t.client("sns", checked=False), topic(t)
    raw = Queue(t)
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=raw.arn, Attributes={"RawMessageDelivery": "true"})
    got = sns.publish_batch(
        TopicArn=arn,
        PublishBatchRequestEntries=[
            {"Id": "good", "Message": "eins 一"}, {"Id": "empty", "Message": ""}, {"Id": "also", "Message": "zwei", "Subject": "s"},
            {"Id": "odd", "Message": "m", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "x"}}},
        ],
    )
    t.is_("entries that are taken have ids", got["Successful"], [{"Id": "good", "MessageId": UUID}, {"Id": "also", "MessageId": UUID}])
    t.is_(
        "others fail by themselves, with the same codes as alone", [(e["Id"], e["Code"], e["SenderFault"]) for e in got["Failed"]],
        [("empty", "InvalidParameter", True), ("odd", "ParameterValueInvalid", True)],
    )
    t.is_("what was taken arrives", sorted(raw.bodies(2)), ["eins 一", "zwei"])
    one = {"Id": "a", "Message": "m"}
    for rule, code, entries in (
        ("no entries", "EmptyBatchRequest", []), ("too many entries", "TooManyEntriesInBatchRequest", [{**one, "Id": str(i)} for i in range(11)]),
        ("an id twice", "BatchEntryIdsNotDistinct", [one, one]), ("an id that is none", "InvalidBatchEntryId", [{**one, "Id": "a b"}]),
    ):
        t.refused(f"a batch with {rule}", (code, like(".+")), unchecked.publish_batch, TopicArn=arn, PublishBatchRequestEntries=entries)


@story
def http_subscriptions(t):
    sns, arn, web = t.client("sns"), topic(t), t.cloud.web
    url = f"{web.url}/{t.account}/hook"
    t.answers("an endpoint must confirm", sns.subscribe(TopicArn=arn, Protocol="http", Endpoint=url), {"SubscriptionArn": "pending confirmation"})
    t.is_("until then its ARN is not told", [s["SubscriptionArn"] for s in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]], ["PendingConfirmation"])
    sns.publish(TopicArn=arn, Message="too early")
    asked = [(r["headers"], json.loads(r["body"])) for r in web.wait(t.account, "/hook")]
    for headers, body in asked:
        t.has("it is asked", body, {"Type": "SubscriptionConfirmation", "TopicArn": arn, "Token": like(".+"), "SubscribeURL": like("http.*ConfirmSubscription.*")})
        t.has(
            "with AWS's headers", headers,
            {"x-amz-sns-message-type": "SubscriptionConfirmation", "x-amz-sns-topic-arn": arn, "x-amz-sns-message-id": body["MessageId"], "content-type": "text/plain; charset=UTF-8"},
        )
        with urllib.request.urlopen(body["SubscribeURL"]) as page:
            t.is_("visiting the link confirms", (page.status, arn.encode() in page.read()), (200, True))
        got = sns.confirm_subscription(TopicArn=arn, Token=body["Token"])
        t.is_("and so does the token", got["SubscriptionArn"], like(arn + ":.+"))
    t.is_("it was asked once", len(asked), 1)
    sent = sns.publish(TopicArn=arn, Message="order 订单", MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}})
    for r in web.wait(t.account, "/hook", 2)[1:]:
        t.has("then it gets notifications, and none from before", json.loads(r["body"]), {"Type": "Notification", "MessageId": sent["MessageId"], "Message": "order 订单", "MessageAttributes": {"k": {"Type": "String", "Value": "v"}}})
        t.has("with AWS's headers too", r["headers"], {"x-amz-sns-message-type": "Notification", "x-amz-sns-subscription-arn": like(arn + ":.+")})
        with urllib.request.urlopen(json.loads(r["body"])["UnsubscribeURL"]) as page:
            t.is_("visiting the other link ends it", page.status, 200)
    t.is_("it is gone from the list", sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"], [])
    t.refused("a token that is none", ("InvalidParameter", "Invalid parameter: Token"), sns.confirm_subscription, TopicArn=arn, Token="nix")


@story
def rule_to_topic(t):
    arn, q = topic(t), Queue(t)
    t.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=q.arn, Attributes={"RawMessageDelivery": "true"})
    events = rule_to(t, arn, InputPath="$.detail")
    put(events, ("shop", "order", {"城市": "上海 🛒"}))
    t.is_("a rule publishes what its input makes of the event", q.events(), [{"城市": "上海 🛒"}])
    other = t.cloud.account()
    theirs = t.client("sns", account=other)
    try:
        theirs.publish(TopicArn=arn, Message="m")
        code = "none"
    except theirs.exceptions.AuthorizationErrorException as e:
        code = e.response["Error"]["Code"]
    t.is_("another account is denied", code, "AuthorizationError")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": other}, "Action": "SNS:Publish", "Resource": arn}]}
    t.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=json.dumps(policy))
    theirs.publish(TopicArn=arn, Message="allowed")
    t.is_("unless the topic's policy lets it", q.bodies(), ["allowed"])

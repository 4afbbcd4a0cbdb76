"""SQS, in the protocol that the client speaks: JSON from boto3 1.28 on, query before."""

import hashlib
import json
import struct

from check import TEXT, UUID, Matcher, answer, like, story
from cloud import Queue, knows


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def md5_of_attributes(attributes):
    """AWS's digest of message attributes, as SDKs that check it compute it."""
    digest = hashlib.md5()
    for name, value in sorted(attributes.items()):
        for part in (name, value["DataType"]):
            digest.update(struct.pack("!I", len(part.encode())) + part.encode())
        data = value["BinaryValue"] if "BinaryValue" in value else value["StringValue"].encode()
        digest.update((b"\2" if "BinaryValue" in value else b"\1") + struct.pack("!I", len(data)) + data)
    return digest.hexdigest()


MISSING = ("AWS.SimpleQueueService.NonExistentQueue", like("The specified queue does not exist.*"))


@story
def queues(t):
    sqs, unchecked = t.client("sqs"), t.client("sqs", checked=False)
    url = sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "45"}, tags={"team": "商店"})["QueueUrl"]
    t.is_("a queue's URL ends in account and name", url, like(f"http://.*/{t.account}/orders"))
    t.answers("GetQueueUrl", sqs.get_queue_url(QueueName="orders"), {"QueueUrl": url})
    t.answers("making it again as it is answers the same", sqs.create_queue(QueueName="orders", Attributes={"VisibilityTimeout": "45"}), {"QueueUrl": url})
    t.refused(
        "but not otherwise", ("QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute VisibilityTimeout"),
        sqs.create_queue, QueueName="orders", Attributes={"VisibilityTimeout": "46"},
    )
    got = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    number = like(r"\d+")
    t.has(
        "attributes are texts", got,
        {
            "QueueArn": f"arn:aws:sqs:us-east-1:{t.account}:orders", "VisibilityTimeout": "45", "DelaySeconds": "0", "MessageRetentionPeriod": "345600",
            "ReceiveMessageWaitTimeSeconds": "0", "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0", "CreatedTimestamp": number, "LastModifiedTimestamp": number, "MaximumMessageSize": number,
            "SqsManagedSseEnabled": "true",
        },
    )
    t.lacks("those that it has not are absent", got, "FifoQueue", "Policy", "RedrivePolicy")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    t.answers("one attribute is told alone", sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DelaySeconds"]), {"Attributes": {"DelaySeconds": "5"}})
    t.answers("tags", sqs.list_queue_tags(QueueUrl=url), {"Tags": {"team": "商店"}})
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a", "team"])
    t.answers("are added and taken away", sqs.list_queue_tags(QueueUrl=url), {"Tags": {"b": "2"}})
    for i in range(5):
        sqs.create_queue(QueueName=f"page-{i}")
    pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix="page-", PaginationConfig={"PageSize": 2}))
    t.is_("queues are listed in pages", [[u[-6:] for u in p["QueueUrls"]] for p in pages], [["page-0", "page-1"], ["page-2", "page-3"], ["page-4"]])
    t.lacks("a list of none has no member", answer(sqs.list_queues(QueueNamePrefix="nix")), "QueueUrls")

    try:
        sqs.get_queue_url(QueueName="nix")
        name = "none"
    except sqs.exceptions.QueueDoesNotExist as e:
        name = type(e).__name__
    t.is_("clients have a class for a missing queue", name, "QueueDoesNotExist")
    for rule, want, call, more in (
        ("a missing queue's URL", MISSING, sqs.get_queue_url, {"QueueName": "nix"}),
        ("attributes of a missing queue", MISSING, sqs.get_queue_attributes, {"QueueUrl": url + "x"}),
        ("deleting a missing queue", MISSING, sqs.delete_queue, {"QueueUrl": url + "x"}),
        ("sending to a missing queue", MISSING, sqs.send_message, {"QueueUrl": url + "x", "MessageBody": "m"}),
        (
            "a name that is none", ("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"),
            sqs.create_queue, {"QueueName": "a b"},
        ),
        ("an attribute that is none", ("InvalidAttributeName", "Unknown Attribute Nix."), unchecked.set_queue_attributes, {"QueueUrl": url, "Attributes": {"Nix": "1"}}),
        (
            "an attribute's value that is none", ("InvalidAttributeValue", "Invalid value for the parameter VisibilityTimeout."),
            sqs.set_queue_attributes, {"QueueUrl": url, "Attributes": {"VisibilityTimeout": "43201"}},
        ),
        (
            "asking for too many messages", ("InvalidParameterValue", "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."),
            sqs.receive_message, {"QueueUrl": url, "MaxNumberOfMessages": 11},
        ),
        ("a handle that is none", ("ReceiptHandleIsInvalid", 'The input receipt handle "nix" is not a valid receipt handle.'), sqs.delete_message, {"QueueUrl": url, "ReceiptHandle": "nix"}),
        ("no name", ("MissingParameter", like("The request must contain the parameter QueueName.*")), unchecked.create_queue, {}),
        ("an empty message", ("MissingParameter", "The request must contain the parameter MessageBody."), sqs.send_message, {"QueueUrl": url, "MessageBody": ""}),
        (
            "a delay that is too long", ("InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."),
            sqs.send_message, {"QueueUrl": url, "MessageBody": "m", "DelaySeconds": 901},
        ),
        ("characters that are none of XML's", ("InvalidMessageContents", like("Invalid characters found\\. .*|Invalid binary character.*")), sqs.send_message, {"QueueUrl": url, "MessageBody": "a\x01b"}),
    ):
        t.refused(rule, want, call, **more)
    sqs.delete_queue(QueueUrl=url)
    t.refused("a deleted queue is gone", MISSING, sqs.get_queue_url, QueueName="orders")


@story
def messages(t):
    q = Queue(t, attributes={"VisibilityTimeout": "30"})
    sqs, body = q.client, "Grüße 世界 🌍 <&>\"'\n\t+%20"
    attributes = {
        "text": {"DataType": "String", "StringValue": "商店 🛒"}, "number": {"DataType": "Number", "StringValue": "42.50"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\0\1\xfe\xff"}, "custom.kind": {"DataType": "String.json", "StringValue": "{}"},
    }
    t.answers(
        "SendMessage answers with digests", sqs.send_message(QueueUrl=q.url, MessageBody=body, MessageAttributes=attributes),
        {"MessageId": UUID, "MD5OfMessageBody": md5(body), "MD5OfMessageAttributes": md5_of_attributes(attributes)},
    )
    got = sqs.receive_message(QueueUrl=q.url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    for m in got:
        t.has(
            "a message comes as it was sent, in any language", m,
            {"Body": body, "MD5OfBody": md5(body), "MD5OfMessageAttributes": md5_of_attributes(attributes), "MessageAttributes": attributes, "MessageId": UUID},
        )
        t.is_(
            "its own attributes are texts", m["Attributes"],
            {"SenderId": TEXT, "SentTimestamp": like(r"\d{13}"), "ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": like(r"\d{13}")},
        )
        t.lacks("it is in flight", answer(sqs.receive_message(QueueUrl=q.url)), "Messages")
        sqs.change_message_visibility(QueueUrl=q.url, ReceiptHandle=m["ReceiptHandle"], VisibilityTimeout=0)
    again = sqs.receive_message(QueueUrl=q.url, AttributeNames=["ApproximateReceiveCount"], MessageAttributeNames=["custom.*"], WaitTimeSeconds=5)["Messages"]
    for m in again:
        t.is_("given back it is received again", m["Attributes"], {"ApproximateReceiveCount": "2"})
        t.is_("attributes are chosen by prefix", list(m.get("MessageAttributes", {})), ["custom.kind"])
        t.answers("DeleteMessage answers nothing", sqs.delete_message(QueueUrl=q.url, ReceiptHandle=m["ReceiptHandle"]), {})
    t.is_("both times there was one", (len(got), len(again)), (1, 1))
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}}
    t.has(
        "system attributes have a digest of their own", sqs.send_message(QueueUrl=q.url, MessageBody="m", MessageSystemAttributes=trace),
        {"MD5OfMessageSystemAttributes": md5_of_attributes(trace)},
    )
    t.is_("and come back", [m["Attributes"]["AWSTraceHeader"] for m in q.messages()], [trace["AWSTraceHeader"]["StringValue"]])
    large = "x" * 1_000_000
    sqs.send_message(QueueUrl=q.url, MessageBody=large)
    t.is_("a message has a mebibyte", [len(b) for b in q.bodies()], [len(large)])
    sqs.send_message(QueueUrl=q.url, MessageBody="purged")
    t.answers("PurgeQueue answers nothing", sqs.purge_queue(QueueUrl=q.url), {})
    t.is_("and leaves nothing", q.messages(1, seconds=0), [])
    t.refused(
        "once a minute", ("AWS.SimpleQueueService.PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds."),
        sqs.purge_queue, QueueUrl=q.url, status=403 if sqs.meta.service_model.metadata["protocol"] == "query" else 400,
    )


@story
def message_batches(t):
    q = Queue(t)
    sqs, unchecked = q.client, t.client("sqs", checked=False)
    got = sqs.send_message_batch(
        QueueUrl=q.url,
        Entries=[
            {"Id": "good", "MessageBody": "eins 一"}, {"Id": "bad", "MessageBody": "a\x02"}, {"Id": "late", "MessageBody": "m", "DelaySeconds": 901},
            {"Id": "also", "MessageBody": "zwei"}, {"Id": "odd", "MessageBody": "m", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "x"}}},
        ],
    )
    t.is_(
        "entries that are taken have digests", got["Successful"],
        [{"Id": "good", "MessageId": UUID, "MD5OfMessageBody": md5("eins 一")}, {"Id": "also", "MessageId": UUID, "MD5OfMessageBody": md5("zwei")}],
    )
    t.is_(
        "others fail by themselves, with the same codes as alone",
        [(e["Id"], e["Code"], e["SenderFault"]) for e in sorted(got["Failed"], key=lambda e: e["Id"])],
        [("bad", "InvalidMessageContents", True), ("late", "InvalidParameterValue", True), ("odd", "InvalidParameterValue", True)],
    )
    received = []
    while len(received) < 2:
        page = sqs.receive_message(QueueUrl=q.url, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages")
        if not page:
            break
        received += page
    t.is_("what was taken arrives", sorted(m["Body"] for m in received), ["eins 一", "zwei"])
    entries = [{"Id": f"m{i}", "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(received)]
    got = sqs.change_message_visibility_batch(QueueUrl=q.url, Entries=[{**e, "VisibilityTimeout": 60} for e in [*entries, {"Id": "nix", "ReceiptHandle": "nix"}]])
    t.is_("visibility changes one by one", ([e["Id"] for e in got["Successful"]], [(e["Id"], e["Code"]) for e in got["Failed"]]), (["m0", "m1"], [("nix", "ReceiptHandleIsInvalid")]))
    got = sqs.delete_message_batch(QueueUrl=q.url, Entries=[*entries, {"Id": "nix", "ReceiptHandle": "nix"}])
    t.is_("so do deletions", ([e["Id"] for e in got["Successful"]], [(e["Id"], e["Code"]) for e in got["Failed"]]), (["m0", "m1"], [("nix", "ReceiptHandleIsInvalid")]))
    got = sqs.send_message_batch(QueueUrl=q.url, Entries=[{"Id": "a", "MessageBody": "m"}])
    t.is_("a batch without failures has none", (len(got["Successful"]), got.get("Failed", [])), (1, []))
    prefix = "AWS.SimpleQueueService."
    for rule, want, entries in (
        ("no entries", ("EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."), []),
        ("too many entries", ("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11."), [{"Id": str(i), "MessageBody": "m"} for i in range(11)]),
        ("an id twice", ("BatchEntryIdsNotDistinct", "Id a repeated."), [{"Id": "a", "MessageBody": "m"}] * 2),
        (
            "an id that is none",
            ("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."),
            [{"Id": "a b", "MessageBody": "m"}],
        ),
        ("too large together", ("BatchRequestTooLong", like("Batch requests cannot be longer than 1048576 bytes\\. You have sent 1200000 bytes\\.")), [{"Id": str(i), "MessageBody": "m" * 600_000} for i in range(2)]),
    ):
        t.refused(f"a batch with {rule}", (prefix + want[0], want[1]), unchecked.send_message_batch, QueueUrl=q.url, Entries=entries)


@story
def fifo_queues(t):
    q = Queue(t, "q.fifo", attributes={"FifoQueue": "true"})
    sqs = q.client
    t.has("a FIFO queue says so", sqs.get_queue_attributes(QueueUrl=q.url, AttributeNames=["All"])["Attributes"], {"FifoQueue": "true", "ContentBasedDeduplication": "false"})
    first = sqs.send_message(QueueUrl=q.url, MessageBody="1", MessageGroupId="g", MessageDeduplicationId="a")
    t.is_("a message has a sequence number", first["SequenceNumber"], like(r"\d{20}"))
    again = sqs.send_message(QueueUrl=q.url, MessageBody="other", MessageGroupId="g", MessageDeduplicationId="a")
    t.is_("the same deduplication id is the same message", (again["MessageId"], again["SequenceNumber"]), (first["MessageId"], first["SequenceNumber"]))
    sqs.send_message(QueueUrl=q.url, MessageBody="2", MessageGroupId="g", MessageDeduplicationId="b")
    page = sqs.receive_message(QueueUrl=q.url, MaxNumberOfMessages=10, AttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    t.is_("a group comes in order", [m["Body"] for m in page], ["1", "2"])
    t.is_(
        "with group, id and number", [(m["Attributes"]["MessageGroupId"], m["Attributes"]["MessageDeduplicationId"], m["Attributes"]["SequenceNumber"]) for m in page[:1]],
        [("g", "a", first["SequenceNumber"])],
    )
    t.refused("a group is needed", ("MissingParameter", "The request must contain the parameter MessageGroupId."), sqs.send_message, QueueUrl=q.url, MessageBody="m", MessageDeduplicationId="c")
    t.refused(
        "and a deduplication id", ("InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"),
        sqs.send_message, QueueUrl=q.url, MessageBody="m", MessageGroupId="g",
    )


@story
def queue_redrive(t):
    dead = Queue(t, "dead")
    q = Queue(t, attributes={"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "1"}), "VisibilityTimeout": "0"})
    sqs = q.client
    t.is_("a queue's sources are listed", sqs.list_dead_letter_source_queues(QueueUrl=dead.url)["queueUrls"], [q.url])
    sqs.send_message(QueueUrl=q.url, MessageBody="poison 毒")
    for _ in range(2):
        sqs.receive_message(QueueUrl=q.url, WaitTimeSeconds=1)
    if knows(sqs, "StartMessageMoveTask", "SourceArn"):
        t.until("a message that was received too often moves", lambda: sqs.get_queue_attributes(QueueUrl=dead.url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]["ApproximateNumberOfMessages"], "1")
        t.is_("a move task has a handle", sqs.start_message_move_task(SourceArn=dead.arn)["TaskHandle"], TEXT)

        def task():
            got = sqs.list_message_move_tasks(SourceArn=dead.arn)["Results"][0]
            return got["Status"], got["ApproximateNumberOfMessagesMoved"], got["SourceArn"]

        t.until("and completes", task, ("COMPLETED", 1, dead.arn))
        t.is_("the message is back", q.bodies(), ["poison 毒"])
        for i in range(3):
            sqs.send_message(QueueUrl=dead.url, MessageBody=str(i))
        handle = sqs.start_message_move_task(SourceArn=dead.arn, DestinationArn=q.arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
        t.is_("a slow one is cancelled", sqs.cancel_message_move_task(TaskHandle=handle), Matcher("a count", lambda v: v["ApproximateNumberOfMessagesMoved"] < 3))
    else:
        t.is_("a message that was received too often moves", [(m["Body"], m["Attributes"].get("DeadLetterQueueSourceArn")) for m in dead.messages()], [("poison 毒", q.arn)])


@story
def queue_permissions(t):
    q, other = Queue(t), t.cloud.account()
    theirs = t.client("sqs", account=other)
    try:
        theirs.send_message(QueueUrl=q.url, MessageBody="m")
        error = {}
    except theirs.exceptions.ClientError as e:
        error = e.response["Error"]
    t.is_("another account is denied", error.get("Code"), like("AccessDenied|AccessDeniedException"))
    q.client.add_permission(QueueUrl=q.url, Label="one", AWSAccountIds=[other], Actions=["SendMessage"])
    policy = json.loads(q.client.get_queue_attributes(QueueUrl=q.url, AttributeNames=["Policy"])["Attributes"]["Policy"])
    t.has("AddPermission writes a statement", policy["Statement"][0], {"Sid": "one", "Effect": "Allow", "Action": "SQS:SendMessage", "Resource": q.arn})
    theirs.send_message(QueueUrl=q.url, MessageBody="allowed")
    t.is_("with it they may", q.bodies(), ["allowed"])
    q.client.remove_permission(QueueUrl=q.url, Label="one")
    t.lacks("RemovePermission takes it away", q.client.get_queue_attributes(QueueUrl=q.url, AttributeNames=["All"])["Attributes"], "Policy")

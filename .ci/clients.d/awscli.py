"""Plays stories with one aws CLI: awscli.py URL FIRST-ACCOUNT CLI [PART-OF-A-STORYS-NAME].

The CLI parses shorthand, files, times and pages by itself, so that is what these
stories are about; what operations do is in the stories of boto3.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import check
from check import UUID, like, story

ISO = like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)|\d+(\.\d+)?")


class Failed(Exception):
    """A command that ended with an error: its code and what it said."""

    def __init__(self, code, said):
        super().__init__(f"exit code {code}: {said}")
        self.code, self.said = code, said.strip()


class Commands:
    """The CLI, in as many accounts as the stories want."""

    region = "us-east-1"

    def __init__(self, url, first_account, path):
        self.url, self.path, self.accounts = url, path, itertools.count(first_account)
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        self.old = version.startswith("aws-cli/1.")
        self.refused = 255 if self.old else 254  # the exit code of a server's error

    def account(self):
        return f"{next(self.accounts):012d}"

    def run(self, account, *arguments):
        env = {**os.environ, "AWS_ACCESS_KEY_ID": account, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"}
        done = subprocess.run([self.path, "--endpoint-url", self.url, *arguments], env=env, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Failed(done.returncode, done.stderr)
        return done.stdout


def aws(t, *arguments):
    """What a command prints as JSON; None if it prints nothing."""
    out = t.cloud.run(t.account, *arguments, "--output", "json")
    return json.loads(out) if out.strip() else None


def text(t, *arguments):
    return t.cloud.run(t.account, *arguments, "--output", "text").rstrip("\n")


def fails(t, rule, code, operation, message, *arguments):
    """The command must end as the CLI does on a server's error."""
    try:
        out = t.cloud.run(t.account, *arguments)
        t.is_(rule, f"exit code 0: {out}", message)
    except Failed as e:
        said = re.sub(r"^aws: \[ERROR\]: ", "", e.said)
        t.is_(rule, (e.code, said), (t.cloud.refused, f"An error occurred ({code}) when calling the {operation} operation: {message}"))


@story
def rules_and_events(t):
    url = text(t, "sqs", "create-queue", "--queue-name", "q", "--query", "QueueUrl")
    sqs = f"arn:aws:sqs:us-east-1:{t.account}:q"
    t.is_("shorthand of tags", aws(t, "events", "create-event-bus", "--name", "orders", "--tags", "Key=team,Value=商店"), {"EventBusArn": f"arn:aws:events:us-east-1:{t.account}:event-bus/orders"})
    with tempfile.TemporaryDirectory() as folder:
        pattern = os.path.join(folder, "pattern.json")
        with open(pattern, "w", encoding="utf-8") as f:
            f.write('{\n  "source": ["shop"],\n  "detail": {"city": ["上海"]}\n}\n')
        aws(t, "events", "put-rule", "--name", "r", "--event-bus-name", "orders", "--event-pattern", f"file://{pattern}", "--description", "订单 🚚")
        with open(pattern, encoding="utf-8") as f:
            t.is_("a pattern from a file comes back as it is", aws(t, "events", "describe-rule", "--name", "r", "--event-bus-name", "orders")["EventPattern"], f.read())
        targets = [{"Id": "t", "Arn": sqs, "InputTransformer": {"InputPathsMap": {"c": "$.detail.city"}, "InputTemplate": '"<c> 🛒"'}}]
        t.is_(
            "targets as JSON", aws(t, "events", "put-targets", "--rule", "r", "--event-bus-name", "orders", "--targets", json.dumps(targets)),
            {"FailedEntryCount": 0, "FailedEntries": []},
        )
        aws(t, "events", "put-targets", "--rule", "r", "--event-bus-name", "orders", "--targets", f"Id=plain,Arn={sqs},RetryPolicy={{MaximumRetryAttempts=1}}")
        t.is_(
            "and as shorthand", aws(t, "events", "list-targets-by-rule", "--rule", "r", "--event-bus-name", "orders")["Targets"],
            [{"Id": "plain", "Arn": sqs, "RetryPolicy": {"MaximumRetryAttempts": 1}}, *targets],
        )
        entries = os.path.join(folder, "entries.json")
        entry = {"Source": "shop", "DetailType": "order", "Detail": '{"city":"上海"}', "EventBusName": "orders", "Time": "2026-01-02T12:04:05.5+09:00"}
        with open(entries, "w", encoding="utf-8") as f:
            json.dump([entry, {**entry, "Detail": "[]"}], f)
        got = aws(t, "events", "put-events", "--entries", f"file://{entries}")
        t.is_(
            "an entry that is refused stands in the answer, and is no error", got,
            {"FailedEntryCount": 1, "Entries": [{"EventId": UUID}, {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}]},
        )
    bodies = []
    for _ in range(5):
        page = aws(t, "sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10", "--wait-time-seconds", "5")
        bodies += [m["Body"] for m in (page or {"Messages": []})["Messages"]]
        if len(bodies) > 1:
            break
    event = like(r'\{"version":"0","id":"%s",.*"time":"2026-01-02T03:04:05Z".*\}' % got["Entries"][0]["EventId"])
    t.is_("both targets got it, its time in UTC", sorted(bodies), ['"上海 🛒"', event])
    t.is_("text output", text(t, "events", "list-rules", "--event-bus-name", "orders", "--query", "Rules[].[Name,State,Description]"), "r\tENABLED\t订单 🚚")
    t.is_("times as this CLI writes them", aws(t, "events", "create-archive", "--archive-name", "all", "--event-source-arn", f"arn:aws:events:us-east-1:{t.account}:event-bus/orders"), {
        "ArchiveArn": f"arn:aws:events:us-east-1:{t.account}:archive/all", "State": "ENABLED", "CreationTime": either(ISO),
    })


def either(matcher):
    """A time as text, or as a number of older CLIs."""
    return check.Matcher(repr(matcher), lambda v: matcher == str(v))


@story
def errors(t):
    not_there = "Rule nix does not exist on EventBus default."
    fails(t, "an error has the server's code and message", "ResourceNotFoundException", "DescribeRule", not_there, "events", "describe-rule", "--name", "nix")
    fails(
        t, "also over several lines", "InvalidEventPatternException", "PutRule",
        'Event pattern is not valid. Reason: "source" must be an object or an array\n at [Source: (String)"{"source":"商店"}"; line: 1, column: 12]',
        "events", "put-rule", "--name", "r", "--event-pattern", '{"source":"商店"}',
    )
    fails(
        t, "operations that are not served", "UnknownOperationException", "ListEndpoints", "The operation ListEndpoints of events is not available here.",
        "events", "list-endpoints",
    )
    fails(
        t, "an error of SQS, in this CLI's protocol", "AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl",
        "The specified queue does not exist or you do not have access to it.", "sqs", "get-queue-url", "--queue-name", "nix",
    )
    fails(t, "an error of SNS", "NotFound", "GetTopicAttributes", "Topic does not exist", "sns", "get-topic-attributes", "--topic-arn", f"arn:aws:sns:us-east-1:{t.account}:nix")
    fails(t, "an error of CloudWatch Logs", "ResourceNotFoundException", "DescribeLogStreams", "The specified log group does not exist.", "logs", "describe-log-streams", "--log-group-name", "nix")
    fails(
        t, "an error of EC2", "InvalidInstanceID.NotFound", "DescribeInstances", "The instance ID 'i-0123456789abcdef0' does not exist",
        "ec2", "describe-instances", "--instance-ids", "i-0123456789abcdef0",
    )


@story
def pages(t):
    for i in range(5):
        aws(t, "events", "put-rule", "--name", f"r{i}", "--schedule-expression", "rate(1 day)")
    names = ["events", "list-rules", "--page-size", "2", "--query", "Rules[].Name"]
    t.is_("the CLI goes over all pages", aws(t, *names), ["r0", "r1", "r2", "r3", "r4"])
    first = aws(t, "events", "list-rules", "--page-size", "2", "--max-items", "3")
    t.is_("or over some", [r["Name"] for r in first["Rules"]], ["r0", "r1", "r2"])
    t.is_("and on from there", aws(t, *names, "--starting-token", first["NextToken"]), ["r3", "r4"])


@story
def replay(t):
    bus = f"arn:aws:events:us-east-1:{t.account}:event-bus/default"
    archive = aws(t, "events", "create-archive", "--archive-name", "all", "--event-source-arn", bus)["ArchiveArn"]
    entry = {"Source": "shop", "DetailType": "order", "Detail": "{}", "Time": "2026-01-02T03:04:05Z"}
    aws(t, "events", "put-events", "--entries", json.dumps([entry]))
    got = aws(
        t, "events", "start-replay", "--replay-name", "again", "--event-source-arn", archive, "--event-start-time", "2026-01-02T03:00:00Z",
        "--event-end-time", "2026-01-02T04:05:00+01:00", "--destination", f"Arn={bus}",
    )
    t.is_("StartReplay takes times of any zone", (got["State"], got["ReplayArn"]), ("STARTING", f"arn:aws:events:us-east-1:{t.account}:replay/again"))
    t.until("and the replay completes", lambda: text(t, "events", "describe-replay", "--replay-name", "again", "--query", "State"), "COMPLETED")


@story
def queues_and_topics(t):
    url = text(t, "sqs", "create-queue", "--queue-name", "q", "--attributes", "VisibilityTimeout=5,DelaySeconds=0", "--query", "QueueUrl")
    attributes = {"kind": {"DataType": "String", "StringValue": "订单"}}
    sent = aws(t, "sqs", "send-message", "--queue-url", url, "--message-body", "Grüße 世界 🌍", "--message-attributes", json.dumps(attributes))
    got = aws(t, "sqs", "receive-message", "--queue-url", url, "--message-attribute-names", "All", "--wait-time-seconds", "5")["Messages"]
    t.is_("sqs", [(m["MessageId"], m["Body"], m["MessageAttributes"]) for m in got], [(sent["MessageId"], "Grüße 世界 🌍", attributes)])
    aws(t, "sqs", "tag-queue", "--queue-url", url, "--tags", "team=商店,b=2")
    t.is_("tags of sqs", aws(t, "sqs", "list-queue-tags", "--queue-url", url), {"Tags": {"b": "2", "team": "商店"}})
    arn = text(t, "sns", "create-topic", "--name", "orders", "--query", "TopicArn")
    aws(t, "sns", "subscribe", "--topic-arn", arn, "--protocol", "sqs", "--notification-endpoint", f"arn:aws:sqs:us-east-1:{t.account}:q", "--attributes", "RawMessageDelivery=true")
    aws(t, "sns", "publish", "--topic-arn", arn, "--message", "by topic 🛒", "--subject", "s")
    bodies = []
    end = time.monotonic() + 15
    while "by topic 🛒" not in bodies and time.monotonic() < end:
        page = aws(t, "sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10", "--wait-time-seconds", "2")
        bodies += [m["Body"] for m in (page or {"Messages": []})["Messages"]]
    t.is_("sns", "by topic 🛒" in bodies, True)


@story
def logs(t):
    aws(t, "logs", "create-log-group", "--log-group-name", "g")
    aws(t, "logs", "create-log-stream", "--log-group-name", "g", "--log-stream-name", "s")
    now = str(int(time.time() * 1000))
    aws(t, "logs", "put-log-events", "--log-group-name", "g", "--log-stream-name", "s", "--log-events", f'timestamp={now},message="上海 🛒"')
    t.is_("logs", text(t, "logs", "filter-log-events", "--log-group-name", "g", "--filter-pattern", "上海", "--query", "events[].message"), "上海 🛒")
    if not t.cloud.old:  # version 1 has no such command
        t.is_("logs tail", t.cloud.run(t.account, "logs", "tail", "g", "--since", "10m", "--format", "short").strip(), like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d 上海 🛒"))


@story
def instances(t):
    t.is_("sts", aws(t, "sts", "get-caller-identity")["Account"], t.account)
    ids = aws(t, "ec2", "run-instances", "--image-id", "ami-0abcdef1234567890", "--query", "Instances[].InstanceId")
    t.cloud.run(t.account, "ec2", "wait", "instance-running", "--instance-ids", *ids)
    t.is_("ec2", aws(t, "ec2", "describe-instances", "--query", "Reservations[].Instances[].State.Name"), ["running"])


if __name__ == "__main__":
    check.main(Commands(sys.argv[1], int(sys.argv[2]), sys.argv[3]), sys.argv[4:], threads=5)

"""Clients of the server under test, in as many AWS accounts as the stories want."""

import io
import itertools
import json
import threading
import time
import zipfile

import boto3
from botocore.config import Config

from web import Web


class Cloud:
    """The server. In dev mode an access key id of twelve digits is that account."""

    region = "us-east-1"

    def __init__(self, url, first_account):
        self.url, self.web = url, Web()
        self.session = boto3.session.Session()
        self.lock, self.clients = threading.Lock(), {}
        self.succeeded = set()  # (service, operation) of calls that were answered
        self.accounts = itertools.count(first_account)

    def account(self):
        """An account that nobody has used."""
        return f"{next(self.accounts):012d}"

    def client(self, service, account, region, checked):
        with self.lock:  # a session makes one client at a time
            key = service, account, region, checked
            if key not in self.clients:
                made = self.clients[key] = self.session.client(
                    service,
                    region,
                    endpoint_url=self.url,
                    aws_access_key_id=account,
                    aws_secret_access_key="secret",
                    config=Config(
                        parameter_validation=checked, retries={"total_max_attempts": 1}, read_timeout=30, max_pool_connections=4,
                        inject_host_prefix=False,
                    ),
                )
                made.meta.events.register("after-call", self.note)
            return self.clients[key]

    def note(self, http_response, model, **_):
        if http_response.status_code < 300:
            self.succeeded.add((model.service_model.service_name, model.name))


def knows(client, operation, member):
    """Whether this botocore has the input member of an operation."""
    model = client.meta.service_model
    return operation in model.operation_names and member in model.operation_model(operation).input_shape.members


def tells(client, operation, member):
    """Whether this botocore knows the member of an operation's answer."""
    return member in client.meta.service_model.operation_model(operation).output_shape.members


class Queue:
    """An SQS queue that a story makes to see what arrives."""

    def __init__(self, t, name="q", account=None, region=None, attributes=None):
        self.client = t.client("sqs", region, account)
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes or {})["QueueUrl"]
        self.arn = f"arn:aws:sqs:{region or t.cloud.region}:{account or t.account}:{name}"

    def messages(self, n=1, seconds=15):
        """The next n messages, or as many as come in time; they are deleted."""
        got, end = [], time.monotonic() + seconds
        while len(got) < n and time.monotonic() < end:
            page = self.client.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=min(10, n - len(got)), WaitTimeSeconds=int(min(1, seconds)),
                AttributeNames=["All"], MessageAttributeNames=["All"],
            ).get("Messages", [])
            for m in page:
                self.client.delete_message(QueueUrl=self.url, ReceiptHandle=m["ReceiptHandle"])
            got += page
        return got

    def bodies(self, n=1, seconds=15):
        return [m["Body"] for m in self.messages(n, seconds)]

    def events(self, n=1, seconds=15):
        return [json.loads(b) for b in self.bodies(n, seconds)]


def put(events, *entries, bus=None):
    """Puts events, each (source, detail type, detail), and returns their ids."""
    more = {"EventBusName": bus} if bus else {}
    got = events.put_events(
        Entries=[
            {"Source": source, "DetailType": kind, "Detail": json.dumps(detail, ensure_ascii=False), **more}
            for source, kind, detail in entries
        ]
    )
    if got["FailedEntryCount"]:
        raise RuntimeError(f"PutEvents: {got}")
    return [e["EventId"] for e in got["Entries"]]


def rule_to(t, target, pattern='{"source":["shop"]}', rule="r", bus="default", **more):
    """Makes a rule with one target, t."""
    events = t.client("events")
    events.put_rule(Name=rule, EventPattern=pattern, EventBusName=bus)
    got = events.put_targets(Rule=rule, EventBusName=bus, Targets=[{"Id": "t", "Arn": target, **more}])
    if got["FailedEntryCount"]:
        raise RuntimeError(f"PutTargets: {got}")
    return events


ROLE = "arn:aws:iam::{}:role/events".format

FUNCTIONS_ROLE = "arn:aws:iam::{}:role/functions".format
# A function whose event says what becomes of it.
CODE = """
import json, os, sys, time

def handler(event, context):
    event = event if isinstance(event, dict) else {"value": event}
    print("got", json.dumps(event, ensure_ascii=False))
    if "fail" in event:
        raise ValueError(event["fail"])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "exit" in event:
        sys.stdout.flush()
        os._exit(event["exit"])
    if "Records" in event:
        return {"batchItemFailures": [{"itemIdentifier": r["messageId"]} for r in event["Records"] if "bad" in r["body"]]}
    return {"event": event, "id": context.aws_request_id, "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis() > 0,
            "name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "city": os.environ.get("CITY")}
"""


def package(text=CODE, name="main.py"):
    """A zip with one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text)
    return out.getvalue()


def function(t, name="orders", **more):
    client = t.client("lambda")
    made = client.create_function(
        **{"FunctionName": name, "Runtime": "python3.12", "Role": FUNCTIONS_ROLE(t.account), "Handler": "main.handler", "Code": {"ZipFile": package()}, **more}
    )
    return client, made


def invoke(client, event, name="orders", **more):
    got = client.invoke(FunctionName=name, Payload=json.dumps(event, ensure_ascii=False).encode(), **more)
    return got, json.loads(got["Payload"].read() or "null")

"""Plays stories on a server that has keys, with boto3: signed.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME].

RIALTO_ACCESS_KEY_ID and RIALTO_SECRET_ACCESS_KEY are those of its first admin.
"""

import json
import subprocess
import sys
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

import check
from check import UUID, like, story
from cloud import Cloud


class Keys(Cloud):
    """Clients that sign with keys made for each account and role."""

    def make(self, account, role):
        """A new access key, as (id, secret)."""
        out = subprocess.run(
            ["rialto", "keys", "create", "--server", self.url, "--account", account, "--role", role, "-o", "json"], capture_output=True, text=True, check=True
        ).stdout
        made = json.loads(out)
        return made["key_id"], made["key_secret"]

    def signed(self, service, key):
        with self.lock:
            return boto3.session.Session().client(
                service, self.region, endpoint_url=self.url, aws_access_key_id=key[0], aws_secret_access_key=key[1], config=Config(retries={"total_max_attempts": 1})
            )


@story
def signatures(t):
    """What AWS's own signer makes is right here, in every protocol."""
    key = t.cloud.make(t.account, "operator")
    clients = {s: t.cloud.signed(s, key) for s in ("events", "sqs", "sns", "logs", "ec2", "sts")}
    t.is_("a key is of its account", clients["sts"].get_caller_identity()["Account"], t.account)
    text = "Grüße 世界 🌍 a+b/c=d&e ~*'()\r\n"
    clients["events"].put_rule(Name="r", EventPattern=json.dumps({"source": [text]}), Description=text)
    t.is_("events", clients["events"].describe_rule(Name="r")["Description"], text)
    url = clients["sqs"].create_queue(QueueName="q", tags={"a+b": "世 界"})["QueueUrl"]
    clients["sqs"].send_message(QueueUrl=url, MessageBody=text)
    t.is_("sqs", [m["Body"] for m in clients["sqs"].receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]], [text])
    arn = clients["sns"].create_topic(Name="t")["TopicArn"]
    t.is_("sns", clients["sns"].publish(TopicArn=arn, Message=text)["MessageId"], UUID)
    clients["logs"].create_log_group(logGroupName="/a/b#c.d-e_f")
    t.is_("logs", [g["logGroupName"] for g in clients["logs"].describe_log_groups()["logGroups"]], ["/a/b#c.d-e_f"])
    t.is_("ec2", clients["ec2"].describe_instances(Filters=[{"Name": "tag:" + text.strip(), "Values": ["*", text]}])["Reservations"], [])
    for service, call, more in (("sts", "get_caller_identity", {}), ("sns", "list_tags_for_resource", {"ResourceArn": arn}), ("ec2", "describe_instances", {"Filters": [{"Name": "tag:k", "Values": ["世 界+"]}]})):
        with urllib.request.urlopen(clients[service].generate_presigned_url(call, Params=more, HttpMethod="GET")) as answer:
            t.is_(f"a presigned URL of {service}", answer.status, 200)


@story
def refused_keys(t):
    key_id, secret = t.cloud.make(t.account, "operator")
    revoked = t.cloud.make(t.account, "operator")
    subprocess.run(["rialto", "keys", "revoke", "--server", t.cloud.url, revoked[0]], capture_output=True, check=True)
    mismatch = like("The request signature we calculated does not match the signature you provided\\..*")
    unknown = "The security token included in the request is invalid."
    for service, call, more, wrong, nobody, status in (
        ("events", "list_event_buses", {}, "InvalidSignatureException", "UnrecognizedClientException", 400),
        ("logs", "describe_log_groups", {}, "InvalidSignatureException", "UnrecognizedClientException", 400),
        ("sns", "list_topics", {}, "SignatureDoesNotMatch", "InvalidClientTokenId", 403),
        ("sts", "get_caller_identity", {}, "SignatureDoesNotMatch", "InvalidClientTokenId", 403),
        ("sqs", "list_queues", {}, "SignatureDoesNotMatch", "InvalidClientTokenId", 403),
    ):
        client = t.cloud.signed(service, (key_id, "x" * len(secret)))
        if client.meta.service_model.metadata["protocol"] == "json":
            status = 400
        t.refused(f"a wrong secret at {service}", (wrong, mismatch), getattr(client, call), status=status, **more)
        for what, key in (("unknown", ("RLTOAAAAAAAAAAAAAAAA", secret)), ("revoked", revoked)):
            t.refused(f"a key that is {what} at {service}", (nobody, unknown), getattr(t.cloud.signed(service, key), call), status=status, **more)
    for what, key in (("a wrong secret", (key_id, "x" * 40)), ("a key that is unknown", ("RLTOAAAAAAAAAAAAAAAA", secret))):
        t.refused(
            f"{what} at ec2", ("AuthFailure", "AWS was not able to validate the provided access credentials"), t.cloud.signed("ec2", key).describe_instances, status=401
        )


@story
def roles(t):
    entry = {"Source": "shop", "DetailType": "x", "Detail": "{}"}
    calls = {
        "put events": ("events", "put_events", {"Entries": [entry]}),
        "look": ("events", "list_rules", {}),
        "change rules": ("events", "put_rule", {"Name": "r", "EventPattern": '{"source":["a"]}'}),
        "make queues": ("sqs", "create_queue", {"QueueName": "q"}),
        "make topics": ("sns", "create_topic", {"Name": "t"}),
        "know oneself": ("sts", "get_caller_identity", {}),
    }
    for role, may in (("operator", set(calls)), ("publisher", {"put events", "know oneself"}), ("reader", {"look", "know oneself"})):
        key = t.cloud.make(t.account, role)
        for what, (service, call, parameters) in calls.items():
            try:
                getattr(t.cloud.signed(service, key), call)(**parameters)
                got = "allowed"
            except ClientError as e:
                got = e.response["Error"]["Code"]
            denied = {"events": "AccessDeniedException", "sqs": like("AccessDenied|AccessDeniedException"), "sns": "AuthorizationError"}.get(service)
            t.is_(f"{role}s {'may' if what in may else 'may not'} {what}", got, "allowed" if what in may else denied)
    other = t.cloud.signed("events", t.cloud.make(t.cloud.account(), "operator"))
    t.is_("another account's key sees its own rules alone", other.list_rules()["Rules"], [])


if __name__ == "__main__":
    check.main(Keys(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=3)

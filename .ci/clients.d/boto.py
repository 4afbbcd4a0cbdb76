"""Plays the stories of all services with boto3: boto.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME]."""

import importlib
import sys

from botocore import xform_name
from botocore.exceptions import ClientError

import check
from cloud import Cloud

MODULES = (
    "events_bus", "events_rule", "events_pattern", "events_target", "events_put", "events_input", "events_archive", "events_connection", "sqs", "sns",
    "logs", "ec2_sts", "functions", "stacks", "resources", "trail",
)
UNKNOWN = ("UnknownOperationException", "InvalidAction")
# Global endpoints and partners: not served, which shows only once their parameters are right.
NOT_SERVED = ("Endpoint", "Partner", "EventSource")


def path_members(client, operation):
    """Values for what is part of an operation's path: without them nothing can be sent."""
    shape = client.meta.service_model.operation_model(operation).input_shape
    members = shape.members if shape else {}
    return {name: "x" for name, m in members.items() if m.serialization.get("location") == "uri"}


def every_operation(t):
    """No operation is served that no story calls."""
    for service in ("events", "sqs", "sns", "logs", "lambda", "cloudformation", "cloudcontrol"):
        client = t.client(service, checked=False)
        uncalled = []
        for operation in client.meta.service_model.operation_names:
            if (service, operation) in t.cloud.succeeded or service == "events" and any(part in operation for part in NOT_SERVED):
                continue
            try:
                getattr(client, xform_name(operation))(**path_members(client, operation))
                uncalled.append(operation)
            except ClientError as e:
                if e.response["Error"]["Code"] not in UNKNOWN:
                    uncalled.append(operation)
        t.is_(f"every operation of {service} that is served was called", uncalled, [])


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    check.main(Cloud(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=12, last=(every_operation,))

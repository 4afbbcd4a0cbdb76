"""Plays the stories of all services with boto3: boto.py URL FIRST-ACCOUNT [PART-OF-A-STORYS-NAME]."""

import importlib
import sys

import check
from cloud import Cloud

MODULES = (
    "events_bus", "events_rule", "events_pattern", "events_target", "events_put", "events_input", "events_archive", "events_connection", "sqs", "sns",
    "logs", "ec2_sts",
)  # fmt: skip

if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    check.main(Cloud(sys.argv[1], int(sys.argv[2])), sys.argv[3:], threads=12)

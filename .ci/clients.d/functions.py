"""Lambda: functions, their code and permissions, invocations, queues as event sources."""

import base64
import hashlib
import json
import re

from check import TEXT, UUID, Matcher, like, story
from cloud import CODE, FUNCTIONS_ROLE, Queue, function, invoke, package, rule_to

MODIFIED = like(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def arn(t, name="orders"):
    return f"arn:aws:lambda:us-east-1:{t.account}:function:{name}"


@story
def functions(t):
    client, made = function(t, Description="订单", Environment={"Variables": {"CITY": "上海 🛒"}}, Tags={"team": "a"}, Timeout=7)
    want = {
        "FunctionName": "orders", "FunctionArn": arn(t), "Runtime": "python3.12", "Role": FUNCTIONS_ROLE(t.account), "Handler": "main.handler",
        "CodeSize": len(package()), "Description": "订单", "Timeout": 7, "MemorySize": 128, "LastModified": MODIFIED,
        "CodeSha256": base64.b64encode(hashlib.sha256(package()).digest()).decode(), "Version": "$LATEST", "Environment": {"Variables": {"CITY": "上海 🛒"}},
        "TracingConfig": {"Mode": "PassThrough"}, "RevisionId": UUID, "PackageType": "Zip", "EphemeralStorage": {"Size": 512},
    }
    t.has("CreateFunction answers the configuration", made, want)
    t.is_("with 201", made["ResponseMetadata"]["HTTPStatusCode"], 201)
    client.get_waiter("function_active").wait(FunctionName="orders")
    t.has("GetFunctionConfiguration too", client.get_function_configuration(FunctionName="orders"), {**want, "State": "Active", "LastUpdateStatus": "Successful"})
    got = client.get_function(FunctionName=arn(t))
    t.has("GetFunction by ARN has it", got["Configuration"], want)
    t.is_("and the tags", got["Tags"], {"team": "a"})
    t.has("a partial ARN is a name", client.get_function_configuration(FunctionName=f"{t.account}:function:orders"), {"FunctionArn": arn(t)})
    t.has("so is a qualifier", client.get_function_configuration(FunctionName="orders", Qualifier="$LATEST"), {"Version": "$LATEST"})
    for i in range(4):
        function(t, f"page-{i}")
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    t.is_(
        "functions come in pages, by name", [[f["FunctionName"] for f in p["Functions"]] for p in pages],
        [["orders", "page-0"], ["page-1", "page-2"], ["page-3"]],
    )
    changed = client.update_function_configuration(FunctionName="orders", Timeout=9, Description="", Environment={"Variables": {}})
    t.has("UpdateFunctionConfiguration changes what is given", changed, {"Timeout": 9, "Description": "", "Handler": "main.handler"})
    t.is_("and the revision", changed["RevisionId"] != made["RevisionId"], True)
    other = package(CODE + "\n# more\n")
    t.has(
        "UpdateFunctionCode the code", client.update_function_code(FunctionName="orders", ZipFile=other),
        {"CodeSize": len(other), "CodeSha256": base64.b64encode(hashlib.sha256(other).digest()).decode(), "Timeout": 9},
    )
    t.has("a dry run changes nothing", client.update_function_code(FunctionName="orders", ZipFile=package(), DryRun=True), {"FunctionName": "orders"})
    t.has("indeed", client.get_function_configuration(FunctionName="orders"), {"CodeSize": len(other)})
    t.refused(
        "a revision that is no more", ("PreconditionFailedException", like("The Revision ?Id.*")), client.update_function_code, status=412,
        FunctionName="orders", ZipFile=other, RevisionId=made["RevisionId"],
    )
    t.is_("DeleteFunction answers 204", client.delete_function(FunctionName="orders")["ResponseMetadata"]["HTTPStatusCode"], 204)
    missing = ("ResourceNotFoundException", f"Function not found: {arn(t)}")
    for rule, call, more in (
        ("a function that is gone is not found", client.get_function_configuration, {}),
        ("nor deleted", client.delete_function, {}),
        ("nor updated", client.update_function_configuration, {"Timeout": 5}),
        ("nor invoked", client.invoke, {}),
    ):
        t.refused(rule, missing, call, status=404, FunctionName="orders", **more)


@story
def functions_that_cannot_be(t):
    client, _ = function(t)
    unchecked = t.client("lambda", checked=False)
    good = {"FunctionName": "x", "Runtime": "python3.12", "Role": FUNCTIONS_ROLE(t.account), "Handler": "main.handler", "Code": {"ZipFile": package()}}
    for rule, want, status, more in (
        ("a name is taken once", ("ResourceConflictException", "Function already exist: orders"), 409, {"FunctionName": "orders"}),
        ("a runtime is one of AWS's", (TEXT, like(".*cobol85.*")), 400, {"Runtime": "cobol85"}),
        ("a role is a role's ARN", (TEXT, like(".*role.*")), 400, {"Role": "me"}),
        ("code is a zip", ("InvalidParameterValueException", like(".*[uU]nzip.*|.*zip.*")), 400, {"Code": {"ZipFile": b"no zip"}}),
        ("code must be there", (TEXT, TEXT), 400, {"Code": {}}),
        ("a timeout has bounds", (TEXT, like(".*901.*timeout.*|.*timeout.*900.*")), 400, {"Timeout": 901}),
        ("layers are refused by name", (TEXT, like("(?is).*layer.*")), 400, {"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:l:1"]}),
        ("S3 is refused by name", (TEXT, like("(?is).*S3.*")), 400, {"Code": {"S3Bucket": "b", "S3Key": "k"}}),
        ("reserved variables are refused by name", ("InvalidParameterValueException", like(".*AWS_REGION.*")), 400, {"Environment": {"Variables": {"AWS_REGION": "x"}}}),
    ):
        t.refused(rule, want, unchecked.create_function, status=status, **{**good, **more})
    t.is_("nothing is left of them", [f["FunctionName"] for f in client.list_functions()["Functions"]], ["orders"])


@story
def invocations(t):
    client, _ = function(t, Environment={"Variables": {"CITY": "上海"}}, Timeout=1)
    got, answer = invoke(client, {"n": 1.5, "text": "你好 🚌"})
    t.has("an invocation answers", got, {"StatusCode": 200, "ExecutedVersion": "$LATEST"})
    t.lacks("no error", got, "FunctionError")
    t.is_(
        "what the function returns", answer,
        {"event": {"n": 1.5, "text": "你好 🚌"}, "id": UUID, "arn": arn(t), "left": True, "name": "orders", "city": "上海"},
    )
    t.is_("its id is the request's", answer["id"], got["ResponseMetadata"]["RequestId"])
    got, answer = invoke(client, {"fail": "坏"}, LogType="Tail")
    t.is_("a function's error is told", got["FunctionError"], "Unhandled")
    t.has("with type, message and trace", answer, {"errorType": "ValueError", "errorMessage": "坏", "stackTrace": Matcher("a list", lambda v: isinstance(v, list))})
    log = base64.b64decode(got["LogResult"]).decode()
    t.is_("the tail of the log has START, END and REPORT", [bool(re.search(w, log)) for w in ("START RequestId: .* Version: \\$LATEST", "END RequestId", "REPORT RequestId: .*Duration: .* ms")], [True] * 3)
    t.is_("and what was printed", 'got {"fail": "坏"}' in log, True)
    got, answer = invoke(client, {"sleep": 30})
    t.is_("a timeout is an error", got["FunctionError"], "Unhandled")
    t.is_("that says so", answer["errorMessage"], like(r".* Task timed out after 1\.00 seconds"))
    got, answer = invoke(client, {"exit": 3})
    t.is_("so is a crash", (got["FunctionError"], answer["errorType"]), ("Unhandled", "Runtime.ExitError"))
    t.is_("that says so", answer["errorMessage"], like("RequestId: .* Error: Runtime exited with error: exit status 3"))
    _, answer = invoke(client, {"n": 2})
    t.is_("after which it runs again", answer["event"], {"n": 2})
    got = client.invoke(FunctionName="orders", InvocationType="DryRun")
    t.is_("a dry run answers 204", (got["StatusCode"], got["Payload"].read()), (204, b""))
    got = client.invoke(FunctionName="orders", InvocationType="Event", Payload=b'{"later": "\xe4\xb8\x8a"}')
    t.is_("an event is accepted with 202", (got["StatusCode"], got["Payload"].read()), (202, b""))
    logs = t.client("logs")
    t.until("and runs", lambda: any('got {"later": "上"}' in e["message"] for e in messages(logs)), True)
    t.refused("a payload is JSON", ("InvalidRequestContentException", like("Could not parse request body into json.*")), client.invoke, FunctionName="orders", Payload=b"{")
    big = b'"' + b"x" * (6 << 20) + b'"'
    t.refused(
        "and has AWS's size", ("RequestTooLargeException", like(r"\d+ byte payload is too large for the RequestResponse invocation type \(limit 6291456 bytes\)|.*")), client.invoke,
        status=413, FunctionName="orders", Payload=big,
    )
    t.refused(
        "a handler that is not there is told", ("ResourceNotFoundException", like("Function not found: .*")), client.invoke, status=404, FunctionName="orders:nix",
    )
    broken, _ = function(t, "broken", Handler="main.nix")
    got, answer = invoke(broken, {}, "broken")
    t.is_("a handler that is missing", (got["FunctionError"], answer["errorType"]), ("Unhandled", "Runtime.HandlerNotFound"))
    function(t, "module", Handler="nix.handler")
    _, answer = invoke(broken, {}, "module")
    t.is_("a module that is missing", answer["errorType"], "Runtime.ImportModuleError")


def messages(logs, name="orders"):
    try:
        return logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []


@story
def function_permissions(t):
    client, _ = function(t)
    rule = f"arn:aws:events:us-east-1:{t.account}:rule/r"
    t.refused("without a policy there is none", ("ResourceNotFoundException", "The resource you requested does not exist."), client.get_policy, status=404, FunctionName="orders")
    got = client.add_permission(
        FunctionName="orders", StatementId="rule", Action="lambda:InvokeFunction", Principal="events.amazonaws.com", SourceArn=rule, SourceAccount=t.account,
    )
    statement = {
        "Sid": "rule", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "lambda:InvokeFunction", "Resource": arn(t),
        "Condition": {"StringEquals": {"AWS:SourceAccount": t.account}, "ArnLike": {"AWS:SourceArn": rule}},
    }
    t.is_("AddPermission answers the statement", json.loads(got["Statement"]), statement)
    policy = client.get_policy(FunctionName="orders")
    t.is_("GetPolicy the policy", json.loads(policy["Policy"]), {"Version": "2012-10-17", "Id": "default", "Statement": [statement]})
    t.is_("with its revision", policy["RevisionId"], UUID)
    t.refused(
        "a statement's id is taken once", ("ResourceConflictException", like("The statement id \\(rule\\) provided already exists.*")), client.add_permission, status=409,
        FunctionName="orders", StatementId="rule", Action="lambda:InvokeFunction", Principal="sns.amazonaws.com",
    )
    client.add_permission(FunctionName="orders", StatementId="account", Action="lambda:InvokeFunction", Principal="123456789012")
    t.is_(
        "an account is its root", json.loads(client.get_policy(FunctionName="orders")["Policy"])["Statement"][1]["Principal"],
        {"AWS": "arn:aws:iam::123456789012:root"},
    )
    t.is_("RemovePermission answers 204", client.remove_permission(FunctionName="orders", StatementId="rule")["ResponseMetadata"]["HTTPStatusCode"], 204)
    t.refused(
        "a statement that is gone", ("ResourceNotFoundException", like("Statement rule is not found in resource policy.*")), client.remove_permission, status=404,
        FunctionName="orders", StatementId="rule",
    )
    there = t.client("lambda", account="123456789012")
    t.is_("the other account may invoke", json.loads(there.invoke(FunctionName=arn(t), Payload=b"{}")["Payload"].read())["name"], "orders")
    stranger = t.client("lambda", account="210987654321")
    t.refused("a third may not", ("AccessDeniedException", TEXT), stranger.invoke, status=403, FunctionName=arn(t))


@story
def function_tags(t):
    client, _ = function(t, Tags={"a": "1"})
    client.tag_resource(Resource=arn(t), Tags={"b": "二", "c": ""})
    t.is_("tags are added", client.list_tags(Resource=arn(t))["Tags"], {"a": "1", "b": "二", "c": ""})
    client.untag_resource(Resource=arn(t), TagKeys=["a", "c"])
    t.is_("and removed", client.list_tags(Resource=arn(t))["Tags"], {"b": "二"})
    t.refused(
        "a function that is not there has none", ("ResourceNotFoundException", like("Function not found: .*")), client.list_tags, status=404, Resource=arn(t, "nix"),
    )


@story
def rules_invoke_functions(t):
    client, _ = function(t)
    events, logs = t.client("events"), t.client("logs")
    events.put_rule(Name="r", EventPattern='{"source": ["shop"]}')
    client.add_permission(
        FunctionName="orders", StatementId="rule", Action="lambda:InvokeFunction", Principal="events.amazonaws.com",
        SourceArn=f"arn:aws:events:us-east-1:{t.account}:rule/r",
    )
    t.has("a function is a target", events.put_targets(Rule="r", Targets=[{"Id": "f", "Arn": arn(t), "InputPath": "$.detail"}]), {"FailedEntryCount": 0})
    events.put_events(Entries=[{"Source": "shop", "DetailType": "order", "Detail": '{"city": "上海"}'}])
    t.until("that gets what its input makes", lambda: sum('got {"city": "上海"}' in e["message"] for e in messages(logs)), 1)


@story
def queues_feed_functions(t):
    client, _ = function(t, Timeout=5)
    sqs = t.client("sqs")
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    dead_arn = f"arn:aws:sqs:us-east-1:{t.account}:dead"
    queue = sqs.create_queue(
        QueueName="q", Attributes={"VisibilityTimeout": "5", "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})},
    )["QueueUrl"]
    source = f"arn:aws:sqs:us-east-1:{t.account}:q"
    made = client.create_event_source_mapping(EventSourceArn=source, FunctionName="orders", BatchSize=5, FunctionResponseTypes=["ReportBatchItemFailures"])
    t.has(
        "a mapping is made", made,
        {"UUID": UUID, "EventSourceArn": source, "FunctionArn": arn(t), "BatchSize": 5, "FunctionResponseTypes": ["ReportBatchItemFailures"], "State": TEXT},
    )
    t.until("and enabled", lambda: client.get_event_source_mapping(UUID=made["UUID"])["State"], "Enabled")
    t.refused(
        "once", ("ResourceConflictException", like("(?s).*" + made["UUID"] + ".*")), client.create_event_source_mapping, status=409,
        EventSourceArn=source, FunctionName="orders",
    )
    for body in ("good", "bad 坏", "fine"):
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    got = []

    def letters():
        got.extend(m["Body"] for m in sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get("Messages", []))
        return got

    t.until("what the function names as failed is redriven", letters, ["bad 坏"])
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    t.until(
        "and the rest is deleted", lambda: [sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"][a] for a in attributes], ["0", "0"],
    )
    t.has("a mapping is changed", client.update_event_source_mapping(UUID=made["UUID"], Enabled=False, BatchSize=1), {"BatchSize": 1})
    t.until("and stops", lambda: client.get_event_source_mapping(UUID=made["UUID"])["State"], "Disabled")
    t.is_("mappings are listed by function", [m["UUID"] for m in client.list_event_source_mappings(FunctionName="orders")["EventSourceMappings"]], [made["UUID"]])
    t.is_("and by source", [m["UUID"] for m in client.list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]], [made["UUID"]])
    t.has("a mapping is deleted", client.delete_event_source_mapping(UUID=made["UUID"]), {"UUID": made["UUID"]})

    def gone():
        try:
            return client.get_event_source_mapping(UUID=made["UUID"])["State"]
        except client.exceptions.ResourceNotFoundException:
            return "gone"

    t.until("and gone", gone, "gone")
    for rule, message, more in (
        ("a queue that is not there", like("(?s).*The specified queue does not exist.*"), {"EventSourceArn": source + "x"}),
        ("a function that is not there", "Function does not exist", {"FunctionName": "nix"}),
        ("a stream is refused by name", like("(?is).*kinesis.*"), {"EventSourceArn": f"arn:aws:kinesis:us-east-1:{t.account}:stream/s", "StartingPosition": "LATEST"}),
    ):
        t.refused(rule, ("InvalidParameterValueException", message), client.create_event_source_mapping, **{"EventSourceArn": source, "FunctionName": "orders", **more})


@story
def calls_leave_a_trail(t):
    """What rules see of calls of Lambda: the events that CloudTrail makes of them."""
    queue = Queue(t)
    rule_to(t, queue.arn, json.dumps({"source": ["aws.lambda"], "detail-type": ["AWS API Call via CloudTrail"]}))
    client, made = function(t, Environment={"Variables": {"SECRET": "do not tell"}})
    client.update_function_configuration(FunctionName="orders", Timeout=4)
    client.invoke(FunctionName="orders", Payload=b"{}")
    client.list_functions()
    t.refused("a refused call", ("ResourceConflictException", "Function already exist: orders"), lambda: function(t), status=409)
    client.delete_function(FunctionName="orders")
    bodies = queue.bodies(4)
    t.is_("four calls leave four events", (len(bodies), queue.bodies(1, seconds=1)), (4, []))
    got = [(b, json.loads(b)) for b in bodies]
    by = {(e["detail"]["eventName"], e["detail"].get("errorCode")): e for _, e in got}
    t.is_(
        "named with the API's date", sorted(by, key=str),
        sorted([("CreateFunction20150331", None), ("UpdateFunctionConfiguration20150331v2", None), ("CreateFunction20150331", "ResourceConflictException"), ("DeleteFunction20150331", None)], key=str),
    )
    t.is_("without secrets and code", ["do not tell" in body or base64.b64encode(package()).decode()[:40] in body for body, _ in got], [False] * 4)
    first = by["CreateFunction20150331", None]
    t.has("an event of the account's default bus", first, {"source": "aws.lambda", "account": t.account, "region": "us-east-1", "resources": []})
    detail = first["detail"]
    t.has("whose detail is CloudTrail's", detail, {
        "eventSource": "lambda.amazonaws.com", "awsRegion": "us-east-1", "readOnly": False, "eventType": "AwsApiCall", "managementEvent": True,
        "recipientAccountId": t.account, "eventCategory": "Management", "requestID": made["ResponseMetadata"]["RequestId"], "eventTime": first["time"],
    })
    t.has("with what was asked for", detail["requestParameters"], {"functionName": "orders", "runtime": "python3.12", "handler": "main.handler", "code": {}})
    t.has("and what was answered", detail["responseElements"], {"functionName": "orders", "functionArn": arn(t), "timeout": 3, "codeSha256": made["CodeSha256"]})
    t.has("and who called", detail["userIdentity"], {"accountId": t.account, "accessKeyId": t.account})
    refused = by["CreateFunction20150331", "ResourceConflictException"]["detail"]
    t.is_("a refusal has no response", (refused["responseElements"], refused["errorMessage"]), (None, "Function already exist: orders"))

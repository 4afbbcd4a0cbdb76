"""Cloud Control: resources of many types by one API."""

import json

from botocore.exceptions import ClientError, WaiterError

from check import TEXT, TIME, UUID, Matcher, like, story


def make(t, kind, desired, **more):
    client = t.client("cloudcontrol")
    event = client.create_resource(TypeName=kind, DesiredState=json.dumps(desired, ensure_ascii=False), **more)["ProgressEvent"]
    return client, event, finished(client, event)


def finished(client, event):
    """The event that a request ends with."""
    try:
        client.get_waiter("resource_request_success").wait(RequestToken=event["RequestToken"], WaiterConfig={"Delay": 1})
    except WaiterError:
        pass
    return client.get_resource_request_status(RequestToken=event["RequestToken"])["ProgressEvent"]


def properties(client, kind, identifier):
    return json.loads(client.get_resource(TypeName=kind, Identifier=identifier)["ResourceDescription"]["Properties"])


def patch(*operations):
    return json.dumps(operations)


@story
def resources(t):
    client, event, end = make(t, "AWS::SQS::Queue", {"QueueName": "orders", "VisibilityTimeout": 40, "Tags": [{"Key": "team", "Value": "订单"}]})
    t.has("a creation is a request", event, {"TypeName": "AWS::SQS::Queue", "RequestToken": UUID, "Operation": "CREATE", "EventTime": TIME, "OperationStatus": Matcher("under way or done", lambda v: v in ("PENDING", "IN_PROGRESS", "SUCCESS"))})
    t.has("that succeeds", end, {"OperationStatus": "SUCCESS", "Identifier": like(f"https?://.*/{t.account}/orders")})
    url = end["Identifier"]
    got = properties(client, "AWS::SQS::Queue", url)
    t.has("a resource is read", got, {"QueueName": "orders", "VisibilityTimeout": 40, "QueueUrl": url, "Arn": f"arn:aws:sqs:us-east-1:{t.account}:orders", "Tags": [{"Key": "team", "Value": "订单"}]})
    t.is_("the queue is there", t.client("sqs").get_queue_url(QueueName="orders")["QueueUrl"], url)
    listed = client.list_resources(TypeName="AWS::SQS::Queue")["ResourceDescriptions"]
    t.is_("resources are listed", [r["Identifier"] for r in listed], [url])
    event = client.update_resource(TypeName="AWS::SQS::Queue", Identifier=url, PatchDocument=patch({"op": "replace", "path": "/VisibilityTimeout", "value": 50}))["ProgressEvent"]
    t.has("an update is a patch", finished(client, event), {"OperationStatus": "SUCCESS", "Operation": "UPDATE"})
    t.has("of what is given", properties(client, "AWS::SQS::Queue", url), {"VisibilityTimeout": 50, "QueueName": "orders"})
    t.refused(
        "a name cannot be changed", ("NotUpdatableException", "Invalid patch update: createOnlyProperties [/properties/QueueName] cannot be updated"), client.update_resource,
        TypeName="AWS::SQS::Queue", Identifier=url, PatchDocument=patch({"op": "replace", "path": "/QueueName", "value": "x"}),
    )
    _, _, again = make(t, "AWS::SQS::Queue", {"QueueName": "orders", "VisibilityTimeout": 50})
    t.has("a queue is made once", again, {"OperationStatus": "FAILED", "ErrorCode": "AlreadyExists"})
    failed = client.list_resource_requests(ResourceRequestStatusFilter={"Operations": ["CREATE"], "OperationStatuses": ["FAILED"]})["ResourceRequestStatusSummaries"]
    t.is_("requests are listed", [r["ErrorCode"] for r in failed], ["AlreadyExists"])
    event = client.delete_resource(TypeName="AWS::SQS::Queue", Identifier=url)["ProgressEvent"]
    t.has("a deletion succeeds", finished(client, event), {"OperationStatus": "SUCCESS", "Operation": "DELETE"})
    t.refused("what is gone is not found", ("ResourceNotFoundException", TEXT), client.get_resource, TypeName="AWS::SQS::Queue", Identifier=url)


@story
def documents(t):
    client, _, end = make(t, "AWS::ECS::Cluster", {"ClusterName": "shop"})
    t.has("a document type is stored", end, {"OperationStatus": "SUCCESS", "Identifier": "shop"})
    cluster = properties(client, "AWS::ECS::Cluster", "shop")
    t.has("with its ARN", cluster, {"ClusterName": "shop", "Arn": f"arn:aws:ecs:us-east-1:{t.account}:cluster/shop"})
    client, _, end = make(t, "AWS::ECS::Service", {"ServiceName": "web", "Cluster": "shop", "TaskDefinition": "web:1", "DesiredCount": 2})
    t.has("an identifier can have two parts", end, {"OperationStatus": "SUCCESS", "Identifier": like(r"arn:aws:ecs:us-east-1:\d+:service/shop/web\|.*shop")})
    service = properties(client, "AWS::ECS::Service", end["Identifier"])
    t.has("and is read by it", service, {"ServiceName": "web", "DesiredCount": 2})
    event = client.update_resource(TypeName="AWS::ECS::Service", Identifier=end["Identifier"], PatchDocument=patch({"op": "add", "path": "/DesiredCount", "value": 3}))["ProgressEvent"]
    t.has("a document is patched", finished(client, event), {"OperationStatus": "SUCCESS"})
    t.has("indeed", properties(client, "AWS::ECS::Service", end["Identifier"]), {"DesiredCount": 3})
    t.refused(
        "what the schema lacks is refused by name", ("ValidationException", "Model validation failed (#: extraneous key [Nix] is not permitted)"), client.create_resource,
        TypeName="AWS::S3::Bucket", DesiredState='{"BucketName": "bucket", "Nix": 1}',
    )


@story
def requests(t):
    client = t.client("cloudcontrol")
    bucket = {"TypeName": "AWS::S3::Bucket", "DesiredState": '{"BucketName": "first"}', "ClientToken": "token-1"}
    first = client.create_resource(**bucket)["ProgressEvent"]
    t.has("a token makes one request", client.create_resource(**bucket)["ProgressEvent"], {"RequestToken": first["RequestToken"]})
    t.refused("of one kind", ("ClientTokenConflictException", TEXT), client.create_resource, **{**bucket, "DesiredState": '{"BucketName": "second"}'})
    for rule, want, call, more in (
        ("a type that is not there", ("TypeNotFoundException", like(".*AWS::No::Such.*")), client.create_resource, {"TypeName": "AWS::No::Such", "DesiredState": "{}"}),
        ("a state that is no JSON", (TEXT, TEXT), client.create_resource, {"TypeName": "AWS::S3::Bucket", "DesiredState": "{"}),
        ("a patch that is none", (TEXT, TEXT), client.update_resource, {"TypeName": "AWS::S3::Bucket", "Identifier": "first", "PatchDocument": "{"}),
        ("a token that is none", ("RequestTokenNotFoundException", TEXT), client.get_resource_request_status, {"RequestToken": "nix"}),
        ("a resource that is not there", ("ResourceNotFoundException", TEXT), client.get_resource, {"TypeName": "AWS::S3::Bucket", "Identifier": "nix"}),
    ):
        t.refused(rule, want, call, **more)
    end = finished(client, first)
    t.refused(
        "a request that is done cannot be cancelled", (TEXT, TEXT), client.cancel_resource_request, RequestToken=end["RequestToken"],
    )
    connection = {"AuthorizationType": "BASIC", "AuthParameters": {"BasicAuthParameters": {"Username": "u", "Password": "p"}}, "Name": "c"}
    cancelled = "not yet"
    for i in range(50):  # a request is done within milliseconds, so that some cancellations come too late
        event = client.create_resource(TypeName="AWS::Events::Connection", DesiredState=json.dumps({**connection, "Name": f"c{i}"}))["ProgressEvent"]
        try:
            cancelled = client.cancel_resource_request(RequestToken=event["RequestToken"])["ProgressEvent"]["OperationStatus"]
            break
        except ClientError:
            continue
    t.is_("one under way can", cancelled in ("CANCEL_IN_PROGRESS", "CANCEL_COMPLETE"), True)

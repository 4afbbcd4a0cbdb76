"""CloudFormation: stacks, change sets, exports, templates and types."""

import base64
import json

from botocore.exceptions import WaiterError

from check import TIME, Matcher, like, story
from cloud import Queue, rule_to

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
QUEUES = """
Parameters:
  Seconds: {Type: Number, Default: 30, MaxValue: 100}
  Name: {Type: String, Default: ""}
Conditions:
  Named: !Not [!Equals [!Ref Name, ""]]
Resources:
  Dead: {Type: AWS::SQS::Queue}
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !If [Named, !Ref Name, !Ref AWS::NoValue]
      VisibilityTimeout: !Ref Seconds
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [shop], detail: {n: [{numeric: [">", 1.0]}]}}
      Targets: [{Id: q, Arn: !GetAtt Queue.Arn}]
Outputs:
  Arn: {Value: !GetAtt Queue.Arn, Description: 队列, Export: {Name: !Sub "${AWS::StackName}-arn"}}
  Url: {Value: !Ref Queue}
  Rule: {Value: !Ref Rule}
"""
IMPORTS = """
Resources:
  Topic:
    Type: AWS::SNS::Topic
    Properties: {Subscription: [{Protocol: sqs, Endpoint: {"Fn::ImportValue": "producer-arn"}}]}
"""


def stack_id(t, name):
    return like(f"arn:aws:cloudformation:us-east-1:{t.account}:stack/{name}/{UUID}")


def create(t, name="shop", template=QUEUES, wait=True, **parameters):
    client = t.client("cloudformation")
    made = client.create_stack(StackName=name, TemplateBody=template, Parameters=given(parameters))
    if wait:
        client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    return client, made["StackId"]


def given(parameters):
    return [{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()]


def outputs(client, name="shop"):
    return {o["OutputKey"]: o["OutputValue"] for o in client.describe_stacks(StackName=name)["Stacks"][0].get("Outputs", [])}


def update(client, name="shop", template=QUEUES, **parameters):
    client.update_stack(StackName=name, TemplateBody=template, Parameters=given(parameters))
    client.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


def delete(client, name="shop"):
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})


@story
def stacks(t):
    client, identity = create(t, Seconds="45")
    t.is_("a stack has an id", identity, stack_id(t, "shop"))
    stack = client.describe_stacks(StackName="shop")["Stacks"][0]
    t.has("a stack is described", stack, {
        "StackId": identity, "StackName": "shop", "StackStatus": "CREATE_COMPLETE", "CreationTime": TIME, "DisableRollback": False,
        "Parameters": Matcher("both parameters", lambda v: sorted((p["ParameterKey"], p["ParameterValue"]) for p in v) == [("Name", ""), ("Seconds", "45")]),
    })
    out = outputs(client)
    name = out["Arn"].rsplit(":", 1)[1]
    t.is_("a queue without a name gets the stack's, its own and a random one", name, like("shop-Queue-[A-Za-z0-9]{12}"))
    t.is_("its Ref is the URL", out["Url"], like(f"https?://.*/{t.account}/{name}"))
    t.is_("a rule's Ref its name", out["Rule"], like("shop-Rule-[A-Za-z0-9]{12}"))
    sqs, events = t.client("sqs"), t.client("events")
    t.is_("the queue is there", sqs.get_queue_attributes(QueueUrl=out["Url"], AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"], "45")
    t.is_(
        "so is the rule, its numbers as they were", json.loads(events.describe_rule(Name=out["Rule"])["EventPattern"]),
        {"source": ["shop"], "detail": {"n": [{"numeric": [">", 1.0]}]}},
    )
    resources = {r["LogicalResourceId"]: r for r in client.describe_stack_resources(StackName="shop")["StackResources"]}
    t.is_("resources are listed", sorted(resources), ["Dead", "Queue", "Rule"])
    t.has("each", resources["Queue"], {"PhysicalResourceId": out["Url"], "ResourceType": "AWS::SQS::Queue", "ResourceStatus": "CREATE_COMPLETE", "StackId": identity})
    t.has("and by itself", client.describe_stack_resource(StackName="shop", LogicalResourceId="Rule")["StackResourceDetail"], {"PhysicalResourceId": out["Rule"]})
    t.is_("and in pages", sorted(r["LogicalResourceId"] for r in client.list_stack_resources(StackName="shop")["StackResourceSummaries"]), ["Dead", "Queue", "Rule"])
    log = client.describe_stack_events(StackName="shop")["StackEvents"]
    t.has("events come with the newest first", log[0], {"LogicalResourceId": "shop", "ResourceType": "AWS::CloudFormation::Stack", "ResourceStatus": "CREATE_COMPLETE"})
    t.has("from the user's call on", log[-1], {"LogicalResourceId": "shop", "ResourceStatus": "CREATE_IN_PROGRESS", "ResourceStatusReason": "User Initiated"})
    made = [e["LogicalResourceId"] for e in reversed(log) if e["ResourceStatus"] == "CREATE_COMPLETE"]
    t.is_("in the order of references", made, ["Dead", "Queue", "Rule", "shop"])
    t.is_("GetTemplate answers the text", client.get_template(StackName="shop")["TemplateBody"], QUEUES)

    update(client, Seconds="50")
    t.is_("an update changes in place", (outputs(client), sqs.get_queue_attributes(QueueUrl=out["Url"], AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"]), (out, "50"))
    t.refused("an update of nothing", ("ValidationError", "No updates are to be performed."), client.update_stack, StackName="shop", TemplateBody=QUEUES, Parameters=given({"Seconds": "50"}))
    update(client, Seconds="50", Name="named")
    new = outputs(client)
    t.is_("a new name replaces", new["Arn"], f"arn:aws:sqs:us-east-1:{t.account}:named")
    t.is_("what refers follows", events.list_targets_by_rule(Rule=out["Rule"])["Targets"], [{"Id": "q", "Arn": new["Arn"]}])
    t.is_("the old one goes", [u.rsplit("/", 1)[1] for u in sqs.list_queues().get("QueueUrls", []) if "Dead" not in u], ["named"])

    delete(client)
    t.is_("after deletion nothing is left", (sqs.list_queues().get("QueueUrls", []), events.list_rules()["Rules"]), ([], []))
    t.has("a deleted stack is found by id", client.describe_stacks(StackName=identity)["Stacks"][0], {"StackStatus": "DELETE_COMPLETE", "DeletionTime": TIME})
    t.refused("and not by name", ("ValidationError", "Stack with id shop does not exist"), client.describe_stacks, StackName="shop")
    t.is_("to delete what is not there succeeds", client.delete_stack(StackName="nix")["ResponseMetadata"]["HTTPStatusCode"], 200)
    t.is_("stacks are listed by status", [s["StackName"] for s in client.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]], ["shop"])


@story
def failed_stacks_are_rolled_back(t):
    broken = QUEUES.replace("Targets: [", "State: ODD\n      Targets: [")
    client, _ = create(t, template=broken, wait=False)
    try:
        client.get_waiter("stack_create_complete").wait(StackName="shop", WaiterConfig={"Delay": 1})
    except WaiterError:
        pass
    t.until("a stack that fails is rolled back", lambda: client.describe_stacks(StackName="shop")["Stacks"][0]["StackStatus"], "ROLLBACK_COMPLETE")
    t.is_("nothing is left", t.client("sqs").list_queues().get("QueueUrls", []), [])
    failed = [e for e in client.describe_stack_events(StackName="shop")["StackEvents"] if e["ResourceStatus"] == "CREATE_FAILED"]
    t.has("its events say why", failed[-1], {"LogicalResourceId": "Rule", "ResourceStatusReason": like("(?s).*ODD.*|.*State.*")})
    t.refused("it cannot be updated", ("ValidationError", like(r"Stack:arn:.* is in ROLLBACK_COMPLETE state and can not be updated\.")), client.update_stack, StackName="shop", TemplateBody=QUEUES)
    delete(client)
    client, _ = create(t)
    before = outputs(client)
    client.update_stack(StackName="shop", TemplateBody=broken, Parameters=given({"Seconds": "60"}))
    t.until("an update that fails too", lambda: client.describe_stacks(StackName="shop")["Stacks"][0]["StackStatus"], "UPDATE_ROLLBACK_COMPLETE")
    sqs = t.client("sqs")
    t.is_(
        "everything is as it was",
        (outputs(client), sqs.get_queue_attributes(QueueUrl=before["Url"], AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"]), (before, "30"),
    )


@story
def change_sets(t):
    client = t.client("cloudformation")
    made = client.create_change_set(StackName="shop", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=QUEUES)
    t.has("a change set is made", made, {"Id": like(f"arn:aws:cloudformation:us-east-1:{t.account}:changeSet/first/{UUID}"), "StackId": stack_id(t, "shop")})
    client.get_waiter("change_set_create_complete").wait(StackName="shop", ChangeSetName="first", WaiterConfig={"Delay": 1})
    t.is_("its stack waits", client.describe_stacks(StackName="shop")["Stacks"][0]["StackStatus"], "REVIEW_IN_PROGRESS")
    got = client.describe_change_set(StackName="shop", ChangeSetName="first")
    t.has("it is ready", got, {"Status": "CREATE_COMPLETE", "ExecutionStatus": "AVAILABLE", "ChangeSetName": "first"})
    t.is_(
        "and says what it adds", sorted((c["ResourceChange"]["Action"], c["ResourceChange"]["LogicalResourceId"], c["ResourceChange"]["ResourceType"]) for c in got["Changes"]),
        [("Add", "Dead", "AWS::SQS::Queue"), ("Add", "Queue", "AWS::SQS::Queue"), ("Add", "Rule", "AWS::Events::Rule")],
    )
    client.execute_change_set(StackName="shop", ChangeSetName="first")
    client.get_waiter("stack_create_complete").wait(StackName="shop", WaiterConfig={"Delay": 1})
    client.create_change_set(StackName="shop", ChangeSetName="second", UsePreviousTemplate=True, Parameters=given({"Name": "named"}))
    client.get_waiter("change_set_create_complete").wait(StackName="shop", ChangeSetName="second", WaiterConfig={"Delay": 1})
    changes = {c["ResourceChange"]["LogicalResourceId"]: c["ResourceChange"] for c in client.describe_change_set(StackName="shop", ChangeSetName="second")["Changes"]}
    t.has("a change set says what is replaced", changes.get("Queue", {}), {"Action": "Modify", "Replacement": "True"})
    t.is_("change sets are listed", "second" in [s["ChangeSetName"] for s in client.list_change_sets(StackName="shop")["Summaries"]], True)
    client.delete_change_set(StackName="shop", ChangeSetName="second")
    t.refused("a deleted one is gone", ("ChangeSetNotFound", like("ChangeSet \\[second\\] does not exist")), client.describe_change_set, status=404, StackName="shop", ChangeSetName="second")
    client.create_change_set(StackName="shop", ChangeSetName="none", UsePreviousTemplate=True)
    t.until("one without changes fails", lambda: client.describe_change_set(StackName="shop", ChangeSetName="none")["Status"], "FAILED")
    t.has("and says so", client.describe_change_set(StackName="shop", ChangeSetName="none"), {
        "StatusReason": "The submitted information didn't contain changes. Submit different information to create a change set.", "ExecutionStatus": "UNAVAILABLE",
    })
    t.refused(
        "it cannot be executed", ("InvalidChangeSetStatus", like(r"ChangeSet \[.*\] cannot be executed in its current status of \[FAILED\]")), client.execute_change_set,
        StackName="shop", ChangeSetName="none",
    )


@story
def exports(t):
    client, identity = create(t, "producer")
    arn = outputs(client, "producer")["Arn"]
    t.is_("exports are listed", client.list_exports()["Exports"], [{"ExportingStackId": identity, "Name": "producer-arn", "Value": arn}])
    t.refused("nobody imports it yet", ("ValidationError", "Export 'producer-arn' is not imported by any stack."), client.list_imports, ExportName="producer-arn")
    create(t, "one", IMPORTS)
    create(t, "two", IMPORTS)
    t.is_("two stacks import it", sorted(client.list_imports(ExportName="producer-arn")["Imports"]), ["one", "two"])
    topic = t.client("cloudformation").describe_stack_resource(StackName="one", LogicalResourceId="Topic")["StackResourceDetail"]["PhysicalResourceId"]
    t.is_("and have its value", [s["Endpoint"] for s in t.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]], [arn])
    t.refused(
        "what is imported cannot go", ("ValidationError", "Export producer-arn cannot be deleted as it is in use by one and two"), client.delete_stack, StackName="producer",
    )
    t.is_("the queue is still there", len(t.client("sqs").list_queues(QueueNamePrefix="producer-Queue")["QueueUrls"]), 1)
    delete(client, "one")
    delete(client, "two")
    delete(client, "producer")
    t.is_("without importers it can", client.list_exports()["Exports"], [])
    failed, _ = create(t, "alone", IMPORTS, wait=False)
    t.until("an import of nothing fails", lambda: failed.describe_stacks(StackName="alone")["Stacks"][0]["StackStatus"], "ROLLBACK_COMPLETE")
    reasons = [e.get("ResourceStatusReason", "") for e in failed.describe_stack_events(StackName="alone")["StackEvents"]]
    t.is_("by name", any("No export named producer-arn found" in r for r in reasons), True)


@story
def templates(t):
    client = t.client("cloudformation")
    got = client.validate_template(TemplateBody=QUEUES)
    t.is_(
        "ValidateTemplate tells the parameters", sorted((p["ParameterKey"], p.get("DefaultValue"), p["NoEcho"]) for p in got["Parameters"]),
        [("Name", "", False), ("Seconds", "30", False)],
    )
    summary = client.get_template_summary(TemplateBody=QUEUES)
    t.is_("GetTemplateSummary the types", sorted(set(summary["ResourceTypes"])), ["AWS::Events::Rule", "AWS::SQS::Queue"])
    for rule, want, template, parameters in (
        ("broken YAML names the line", like("(?s)Template format error: YAML not well-formed.*line 2.*"), "Resources:\n  a: [", {}),
        ("a template has resources", like(".*[Rr]esources.*"), "Description: none", {}),
        ("an unknown function is named", like("(?s).*Fn::Nix.*"), 'Resources: {Q: {Type: "AWS::SQS::Queue", Properties: {QueueName: {"Fn::Nix": 1}}}}', {}),
        ("a missing reference", like(r"Template format error: Unresolved resource dependencies \[Nix\] in the Resources block of the template \(at Resources/Q/Properties/QueueName, line 1, .*\)"), "Resources: {Q: {Type: 'AWS::SQS::Queue', Properties: {QueueName: !Ref Nix}}}", {}),
        ("a circle is named", like(r"Circular dependency between resources: \[A, B\] \(at Resources/A, .*\)"), "Resources: {A: {Type: 'AWS::SQS::Queue', DependsOn: B}, B: {Type: 'AWS::SQS::Queue', DependsOn: A}}", {}),
        ("a type that is not there is named", like(r"Template format error: Unrecognized resource types: \[AWS::No::Such\]"), "Resources: {Q: {Type: 'AWS::No::Such'}}", {}),
        ("serverless templates are refused by name", like("(?s).*AWS::Serverless-2016-10-31.*"), "Transform: AWS::Serverless-2016-10-31\nResources: {Q: {Type: 'AWS::SQS::Queue'}}", {}),
        ("a parameter needs a value", like(r"Parameters: \[P\] must have values \(at Parameters/P, .*\)"), "Parameters: {P: {Type: String}}\nResources: {Q: {Type: 'AWS::SQS::Queue'}}", {}),
        ("and a place", like(r"Parameters: \[Odd\] do not exist in the template.*"), QUEUES, {"Odd": "1"}),
        ("within its bounds", like("(?s).*Seconds.*"), QUEUES, {"Seconds": "101"}),
        ("a template has AWS's size", like("(?s).*51200.*"), "Description: d\n" + "#" * 51200 + "\n" + QUEUES, {}),
    ):
        t.refused(rule, ("ValidationError", want), client.create_stack, StackName="no", TemplateBody=template, Parameters=given(parameters))
    t.refused("nothing of them is left", ("ValidationError", "Stack with id no does not exist"), client.describe_stacks, StackName="no")
    create(t)
    t.refused("a name is taken once", ("AlreadyExistsException", "Stack [shop] already exists"), client.create_stack, StackName="shop", TemplateBody=QUEUES)


@story
def types(t):
    client = t.client("cloudformation")
    got = client.describe_type(Type="RESOURCE", TypeName="AWS::ECS::Service")
    t.has("a type is described", got, {"TypeName": "AWS::ECS::Service", "Type": "RESOURCE"})
    schema = json.loads(got["Schema"])
    t.is_("its identifier has two parts", schema["primaryIdentifier"], ["/properties/ServiceArn", "/properties/Cluster"])
    names = [s["TypeName"] for page in client.get_paginator("list_types").paginate(Visibility="PUBLIC") for s in page["TypeSummaries"]]
    want = [
        "AWS::Events::EventBus", "AWS::Events::Rule", "AWS::Events::Connection", "AWS::Events::ApiDestination", "AWS::Events::Archive", "AWS::Events::EventBusPolicy",
        "AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Permission", "AWS::Logs::LogGroup", "AWS::EC2::Instance", "AWS::ECS::Cluster", "AWS::ECS::Service", "AWS::S3::Bucket", "AWS::DynamoDB::Table",
        "AWS::RDS::DBInstance", "AWS::IAM::Role", "AWS::EKS::Cluster",
    ]
    t.is_("types are listed", sorted(set(want) - set(names)), [])
    t.refused("one that is not there", ("TypeNotFoundException", like(".*AWS::No::Such.*")), client.describe_type, status=404, Type="RESOURCE", TypeName="AWS::No::Such")
    schema = {
        "typeName": "Acme::Library::Shelf", "description": "书架", "properties": {"Name": {"type": "string"}, "Meters": {"type": "integer"}}, "required": ["Name"],
        "primaryIdentifier": ["/properties/Name"], "createOnlyProperties": ["/properties/Name"], "additionalProperties": False,
    }
    text = base64.b64encode(json.dumps(schema).encode()).decode()
    registered = client.register_type(Type="RESOURCE", TypeName="Acme::Library::Shelf", SchemaHandlerPackage="data:application/json;base64," + text)
    t.is_("a type can be registered", bool(registered["RegistrationToken"]), True)
    t.is_("and described", json.loads(client.describe_type(Type="RESOURCE", TypeName="Acme::Library::Shelf")["Schema"]), schema)
    shelf = "Resources: {S: {Type: 'Acme::Library::Shelf', Properties: {Name: 上, Meters: 2}}}"
    create(t, template=shelf)
    made = t.client("cloudcontrol").get_resource(TypeName="Acme::Library::Shelf", Identifier="上")["ResourceDescription"]
    t.is_("its resources are made by stacks", json.loads(made["Properties"]), {"Name": "上", "Meters": 2})
    t.refused(
        "a package in S3 is refused by name", ("CFNRegistryException", like("(?s).*s3://.*")), client.register_type,
        Type="RESOURCE", TypeName="Acme::Library::Other", SchemaHandlerPackage="s3://bucket/package.zip",
    )


@story
def stacks_tell_rules(t):
    queue = Queue(t, "told")
    rule_to(t, queue.arn, json.dumps({"source": ["aws.cloudformation"], "detail-type": ["CloudFormation Stack Status Change"]}))
    client, identity = create(t, template="Resources: {Q: {Type: 'AWS::SQS::Queue'}}")
    delete(client, "shop")
    got = [(e["detail"]["stack-id"], e["detail"]["status-details"]["status"]) for e in queue.events(4)]
    t.is_(
        "a stack's changes are events", sorted(got),
        sorted((identity, s) for s in ("CREATE_IN_PROGRESS", "CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE")),
    )

"""EC2 and STS: what the box has of them, and the events that instances publish."""

from check import TIME, like, story
from cloud import Queue, rule_to

ID = like("i-[0-9a-f]{17}")


@story
def instances(t):
    ec2, q = t.client("ec2"), Queue(t)
    rule_to(t, q.arn, pattern='{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"]}')
    got = ec2.run_instances(
        ImageId="ami-0abcdef1234567890", MinCount=2, MaxCount=2, InstanceType="t3.micro",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "机器 🚀"}]}],
    )
    t.has("RunInstances answers with a reservation", got, {"OwnerId": t.account, "ReservationId": like("r-[0-9a-f]{17}")})
    ids = [i["InstanceId"] for i in got["Instances"]]
    t.has(
        "and its instances, pending", got["Instances"][0],
        {
            "InstanceId": ID, "ImageId": "ami-0abcdef1234567890", "InstanceType": "t3.micro", "State": {"Code": 0, "Name": "pending"}, "LaunchTime": TIME,
            "AmiLaunchIndex": 0, "Tags": [{"Key": "Name", "Value": "机器 🚀"}],
        },
    )
    ec2.get_waiter("instance_running").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    described = [i for r in ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["机*"]}])["Reservations"] for i in r["Instances"]]
    t.is_("they run, and filters find them", sorted((i["InstanceId"], i["State"]["Name"]) for i in described), sorted((i, "running") for i in ids))
    t.is_(
        "StopInstances tells both states", [(i["PreviousState"]["Name"], i["CurrentState"]) for i in ec2.stop_instances(InstanceIds=ids[:1])["StoppingInstances"]],
        [("running", {"Code": 64, "Name": "stopping"})],
    )
    ec2.get_waiter("instance_stopped").wait(InstanceIds=ids[:1], WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    events = q.events(10)
    t.is_(
        "every change of state is an event",
        sorted((e["detail"]["instance-id"], e["detail"]["state"]) for e in events),
        sorted(
            [(i, s) for i in ids for s in ("pending", "running", "shutting-down", "terminated")] + [(ids[0], "stopping"), (ids[0], "stopped")]
        ),
    )
    t.is_("of AWS's kind", {(e["detail-type"], e["account"], e["region"]) for e in events}, {("EC2 Instance State-change Notification", t.account, "us-east-1")})
    ec2.create_tags(Resources=ids[:1], Tags=[{"Key": "k", "Value": "v"}])
    t.is_("tags are described", [(x["ResourceId"], x["Value"]) for x in ec2.describe_tags(Filters=[{"Name": "key", "Values": ["k"]}])["Tags"]], [(ids[0], "v")])
    t.is_("regions too", "eu-west-1" in [r["RegionName"] for r in ec2.describe_regions()["Regions"]], True)
    t.refused("a missing instance", ("InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef0' does not exist"), ec2.describe_instances, InstanceIds=["i-0123456789abcdef0"])
    t.refused("an id that is none", ("InvalidInstanceID.Malformed", 'Invalid id: "nix" (expecting "i-...")'), ec2.describe_instances, InstanceIds=["nix"])
    t.refused("an operation that is not served", ("InvalidAction", like(".*CreateVpc.*")), ec2.create_vpc, CidrBlock="10.0.0.0/16")
    t.refused("a dry run", ("DryRunOperation", "Request would have succeeded, but DryRun flag is set."), ec2.terminate_instances, InstanceIds=ids, DryRun=True, status=412)


@story
def identity(t):
    got = t.client("sts").get_caller_identity()
    t.has("the caller is the access key's account", got, {"Account": t.account, "Arn": like(f"arn:aws:.*:{t.account}:.*"), "UserId": like(".+")})


@story
def not_served(t):
    t.refused(
        "operations that are not served are refused by name", ("UnknownOperationException", "The operation ListEndpoints of events is not available here."),
        t.client("events").list_endpoints,
    )

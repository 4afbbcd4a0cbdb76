package resource

import (
	"embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

//go:embed schemas/*.json
var schemaFiles embed.FS

// rules are the document types that are built in. The facts are AWS's: identifiers, ARNs and
// which calls CloudTrail names.
var rules = map[string]rule{
	"AWS::ECS::Cluster":    ecsCluster,
	"AWS::ECS::Service":    ecsService,
	"AWS::S3::Bucket":      s3Bucket,
	"AWS::DynamoDB::Table": dynamoDBTable,
	"AWS::RDS::DBInstance": rdsInstance,
	"AWS::IAM::Role":       iamRole,
	"AWS::EKS::Cluster":    eksCluster,
}

// documentTypes are the types of the rules. It panics when a schema is none: they are
// ours.
func (g *Registry) documentTypes() []Type {
	var types []Type
	for name, r := range rules {
		file := "schemas/" + strings.ToLower(strings.ReplaceAll(name, "::", "-")) + ".json"
		text, err := schemaFiles.ReadFile(file)
		if err != nil {
			panic(fmt.Sprintf("resource: schema of %s: %v", name, err))
		}
		schema, err := ParseSchema(text)
		if err != nil {
			panic(fmt.Sprintf("resource: %s: %v", file, err))
		}
		t := Type{Name: name, Schema: schema}
		if r.ref != "" {
			t.Ref = func(m Model) string { return scalar(m[r.ref]) }
		}
		t.Handler = &documents{g: g, typ: &t, rule: r}
		types = append(types, t)
	}
	return types
}

const ecsClusterARN = "arn:{partition}:ecs:{region}:{account}:cluster/"

var ecsCluster = rule{
	absent: []value{{"ClusterName", "{name}"}},
	always: []value{{"Arn", ecsClusterARN + "{ClusterName}"}},
	trail: &trail{
		service: "ecs",
		created: call{"CreateCluster", `{"clusterName":"{ClusterName}"}`, ecsClusterAnswer},
		deleted: call{"DeleteCluster", `{"cluster":"{ClusterName}"}`, ecsClusterAnswer},
		changed: []change{
			{[]string{"CapacityProviders", "DefaultCapacityProviderStrategy"}, call{"PutClusterCapacityProviders", `{"cluster":"{ClusterName}"}`, ecsClusterAnswer}},
			{nil, call{"UpdateCluster", `{"cluster":"{ClusterName}"}`, ecsClusterAnswer}},
		},
		tagged:   call{"TagResource", `{"resourceArn":"{Arn}"}`, ""},
		untagged: call{"UntagResource", `{"resourceArn":"{Arn}"}`, ""},
	},
}

const ecsClusterAnswer = `{"cluster":{"clusterArn":"{Arn}","clusterName":"{ClusterName}"}}`

// A service names its cluster by ARN, whatever it was given: the identifier has it, and rules
// in CloudTrail's events match it.
var ecsService = rule{
	ref:    "ServiceArn",
	absent: []value{{"ServiceName", "{name}"}, {"Cluster", "default"}, {"SchedulingStrategy", "REPLICA"}, {"LaunchType", "EC2"}},
	more: func(f *filling) {
		cluster := scalar(f.model["Cluster"])
		f.model["Cluster"] = clusterARN(f.scope, cluster)
		if f.model["SchedulingStrategy"] == "REPLICA" {
			if _, given := f.model["DesiredCount"]; !given {
				f.model["DesiredCount"] = json.Number("1")
			}
		}
		name := scalar(f.model["Cluster"])
		name = name[strings.LastIndexByte(name, '/')+1:]
		f.always("ServiceArn", "arn:{partition}:ecs:{region}:{account}:service/"+name+"/{ServiceName}")
	},
	always: []value{{"Name", "{ServiceName}"}},
	canonical: func(s scope, identifier string) string {
		arn, cluster, ok := strings.Cut(identifier, "|")
		if !ok {
			return identifier
		}
		return arn + "|" + clusterARN(s, cluster)
	},
	narrow: func(s scope, property string, v any) any {
		if cluster, ok := v.(string); ok && property == "Cluster" {
			return clusterARN(s, cluster)
		}
		return v
	},
	trail: &trail{
		service:  "ecs",
		created:  call{"CreateService", `{"cluster":"{Cluster}","serviceName":"{ServiceName}"}`, ecsServiceAnswer},
		deleted:  call{"DeleteService", `{"cluster":"{Cluster}","service":"{ServiceName}"}`, ecsServiceAnswer},
		changed:  []change{{nil, call{"UpdateService", `{"cluster":"{Cluster}","service":"{ServiceName}"}`, ecsServiceAnswer}}},
		tagged:   call{"TagResource", `{"resourceArn":"{ServiceArn}"}`, ""},
		untagged: call{"UntagResource", `{"resourceArn":"{ServiceArn}"}`, ""},
	},
}

const ecsServiceAnswer = `{"service":{"serviceArn":"{ServiceArn}","serviceName":"{ServiceName}","clusterArn":"{Cluster}"}}`

// clusterARN is the ARN of a cluster that is given by name or ARN.
func clusterARN(s scope, cluster string) string {
	if strings.HasPrefix(cluster, "arn:") {
		return cluster
	}
	return (&filling{scope: s, region: s.region}).expand(ecsClusterARN) + cluster
}

var s3Bucket = rule{
	more: func(f *filling) {
		if _, given := f.model["BucketName"]; !given {
			f.model["BucketName"] = strings.ToLower(f.name)
		}
	},
	always: []value{
		{"Arn", "arn:{partition}:s3:::{BucketName}"},
		{"DomainName", "{BucketName}.s3.amazonaws.com"},
		{"DualStackDomainName", "{BucketName}.s3.dualstack.{region}.amazonaws.com"},
		{"RegionalDomainName", "{BucketName}.s3.{region}.amazonaws.com"},
		{"WebsiteURL", "http://{BucketName}.s3-website-{region}.amazonaws.com"},
	},
	trail: &trail{
		service: "s3",
		created: bucketCall("CreateBucket"), deleted: bucketCall("DeleteBucket"),
		changed: []change{
			{[]string{"AccelerateConfiguration"}, bucketCall("PutBucketAccelerateConfiguration")},
			{[]string{"BucketEncryption"}, bucketCall("PutBucketEncryption")},
			{[]string{"CorsConfiguration"}, bucketCall("PutBucketCors")},
			{[]string{"LifecycleConfiguration"}, bucketCall("PutBucketLifecycle")},
			{[]string{"LoggingConfiguration"}, bucketCall("PutBucketLogging")},
			{[]string{"NotificationConfiguration"}, bucketCall("PutBucketNotification")},
			{[]string{"ObjectLockEnabled", "ObjectLockConfiguration"}, bucketCall("PutBucketObjectLockConfiguration")},
			{[]string{"OwnershipControls"}, bucketCall("PutBucketOwnershipControls")},
			{[]string{"PublicAccessBlockConfiguration"}, bucketCall("PutBucketPublicAccessBlock")},
			{[]string{"VersioningConfiguration"}, bucketCall("PutBucketVersioning")},
			{[]string{"WebsiteConfiguration"}, bucketCall("PutBucketWebsite")},
		},
		// AWS: all tags of a bucket are put at once, also when one goes.
		tagged: bucketCall("PutBucketTagging"), untagged: bucketCall("PutBucketTagging"),
	},
}

func bucketCall(name string) call { return call{name, `{"bucketName":"{BucketName}"}`, ""} }

var dynamoDBTable = rule{
	absent: []value{{"TableName", "{name}"}},
	more: func(f *filling) {
		delete(f.model, "StreamArn")
		if _, streams := f.model["StreamSpecification"]; streams {
			f.always("StreamArn", "arn:{partition}:dynamodb:{region}:{account}:table/{TableName}/stream/"+f.random("stream", 20))
		}
	},
	always: []value{{"Arn", "arn:{partition}:dynamodb:{region}:{account}:table/{TableName}"}},
	trail: &trail{
		service: "dynamodb",
		created: tableCall("CreateTable"), deleted: tableCall("DeleteTable"),
		changed: []change{
			{[]string{"TimeToLiveSpecification"}, tableCall("UpdateTimeToLive")},
			{[]string{"PointInTimeRecoverySpecification"}, tableCall("UpdateContinuousBackups")},
			{[]string{"ContributorInsightsSpecification"}, tableCall("UpdateContributorInsights")},
			{[]string{"ResourcePolicy"}, call{"PutResourcePolicy", `{"resourceArn":"{Arn}"}`, ""}},
			{nil, tableCall("UpdateTable")},
		},
		tagged:   call{"TagResource", `{"resourceArn":"{Arn}"}`, ""},
		untagged: call{"UntagResource", `{"resourceArn":"{Arn}"}`, ""},
	},
}

func tableCall(name string) call {
	return call{name, `{"tableName":"{TableName}"}`, `{"tableDescription":{"tableName":"{TableName}","tableArn":"{Arn}"}}`}
}

// databasePorts are the ports of engines where none is given. AWS: by the beginning of the name.
var databasePorts = []struct{ engine, port string }{
	{"postgres", "5432"}, {"aurora-postgresql", "5432"}, {"oracle", "1521"}, {"custom-oracle", "1521"},
	{"sqlserver", "1433"}, {"custom-sqlserver", "1433"}, {"db2", "50000"},
}

var rdsInstance = rule{
	more: func(f *filling) {
		name, _ := f.model["DBInstanceIdentifier"].(string)
		if name == "" {
			name = f.name
		}
		f.model["DBInstanceIdentifier"] = strings.ToLower(name) // AWS keeps them so
		port := scalar(f.model["Port"])
		if before, ok := (Path{"Endpoint", "Port"}).Get(f.previous); ok && port == "" {
			port = scalar(before)
		}
		if port == "" {
			port = "3306"
			for _, p := range databasePorts {
				if strings.HasPrefix(scalar(f.model["Engine"]), p.engine) {
					port = p.port
				}
			}
		}
		f.model["Endpoint"] = map[string]any{
			"Address": f.expand("{DBInstanceIdentifier}." + strings.ToLower(f.random("endpoint", 12)) + ".{region}.rds.amazonaws.com"),
			"Port":    port,
		}
		f.model["DbiResourceId"] = "db-" + f.random("resource", 26)
		f.model["InstanceCreateTime"] = f.created.UTC().Format(time.RFC3339)
	},
	canonical: func(_ scope, identifier string) string { return strings.ToLower(identifier) },
	always: []value{
		{"DBInstanceArn", "arn:{partition}:rds:{region}:{account}:db:{DBInstanceIdentifier}"},
		{"DBInstanceStatus", "available"},
	},
	trail: &trail{
		service: "rds",
		created: databaseCall("CreateDBInstance"), deleted: databaseCall("DeleteDBInstance"),
		changed:  []change{{nil, databaseCall("ModifyDBInstance")}},
		tagged:   call{"AddTagsToResource", `{"resourceName":"{DBInstanceArn}"}`, ""},
		untagged: call{"RemoveTagsFromResource", `{"resourceName":"{DBInstanceArn}"}`, ""},
	},
}

func databaseCall(name string) call {
	return call{
		name, `{"dBInstanceIdentifier":"{DBInstanceIdentifier}"}`,
		`{"dBInstanceIdentifier":"{DBInstanceIdentifier}","dBInstanceArn":"{DBInstanceArn}","dbiResourceId":"{DbiResourceId}"}`,
	}
}

var iamRole = rule{
	global: true,
	absent: []value{{"Path", "/"}, {"RoleName", "{name}"}},
	more: func(f *filling) {
		if _, given := f.model["MaxSessionDuration"]; !given {
			f.model["MaxSessionDuration"] = json.Number("3600")
		}
		f.model["RoleId"] = "AROA" + f.random("role", 17)
	},
	always: []value{{"Arn", "arn:{partition}:iam::{account}:role{Path}{RoleName}"}},
	trail: &trail{
		service: "iam",
		created: call{"CreateRole", `{"roleName":"{RoleName}","path":"{Path}"}`, `{"role":{"roleName":"{RoleName}","arn":"{Arn}","roleId":"{RoleId}","path":"{Path}"}}`},
		deleted: roleCall("DeleteRole"),
		changed: []change{
			{[]string{"AssumeRolePolicyDocument"}, roleCall("UpdateAssumeRolePolicy")},
			{[]string{"ManagedPolicyArns"}, roleCall("AttachRolePolicy")},
			{[]string{"Policies"}, roleCall("PutRolePolicy")},
			{[]string{"PermissionsBoundary"}, roleCall("PutRolePermissionsBoundary")},
			{nil, roleCall("UpdateRole")},
		},
		tagged: roleCall("TagRole"), untagged: roleCall("UntagRole"),
	},
}

func roleCall(name string) call { return call{name, `{"roleName":"{RoleName}"}`, ""} }

var eksCluster = rule{
	absent: []value{{"Name", "{name}"}},
	more: func(f *filling) {
		id := strings.ToUpper(f.hex("cluster", 32))
		f.always("Endpoint", "https://"+id+".gr7.{region}.eks.amazonaws.com")
		f.always("OpenIdConnectIssuerUrl", "https://oidc.eks.{region}.amazonaws.com/id/"+id)
		f.always("ClusterSecurityGroupId", "sg-"+f.hex("security group", 17))
	},
	always: []value{{"Arn", "arn:{partition}:eks:{region}:{account}:cluster/{Name}"}, {"Id", "{Name}"}},
	trail: &trail{
		service: "eks",
		created: call{"CreateCluster", `{"name":"{Name}","roleArn":"{RoleArn}"}`, eksClusterAnswer},
		deleted: call{"DeleteCluster", `{"name":"{Name}"}`, eksClusterAnswer},
		changed: []change{
			{[]string{"Version", "Force"}, call{"UpdateClusterVersion", `{"name":"{Name}","version":"{Version}"}`, ""}},
			{nil, call{"UpdateClusterConfig", `{"name":"{Name}"}`, ""}},
		},
		tagged:   call{"TagResource", `{"resourceArn":"{Arn}"}`, ""},
		untagged: call{"UntagResource", `{"resourceArn":"{Arn}"}`, ""},
	},
}

const eksClusterAnswer = `{"cluster":{"name":"{Name}","arn":"{Arn}"}}`

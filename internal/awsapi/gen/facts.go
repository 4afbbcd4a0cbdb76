package main

import "strings"

// service is one package to generate and what its model does not say.
type service struct {
	pkg            string // package name, and the stem of its model's file
	queryModel     string // stem of a second model with the query protocol's names
	signingName    string
	eventSource    string // CloudTrail's name of it
	errorPrefix    string // before a JSON error's __type
	maxBody        string // largest request body, a Go expression
	validation     string // how violations are worded, if not as most services do
	validationCode string // of the error for them, if not as most services have it
	pathMember     string // member that the path of a request can set
	toString       map[string][]string
	enums          map[string][]string // the order in which errors list an enum's values, if not the model's
	members        map[string][]string // the order in which answers have a shape's members, if not by name
	errors         map[string]string   // errors that it gives and does not model, with their query codes
	patterns       map[string]string   // those of shapes whose own RE2 cannot express
	lengths        map[string]int      // how long texts of shapes may be, where ours hold more than AWS's
	slow           map[string]int      // how many seconds the answers of single operations may take
	large          map[string]string   // the largest bodies of single operations, Go expressions
	trailNames     map[string]string   // what CloudTrail calls single operations
}

// Request bodies: one MiB of payload grows when it is quoted inside JSON or a
// form, so entries and messages get room above AWS's own limits.
var services = []service{
	{
		pkg: "events", signingName: "events", eventSource: "events.amazonaws.com", maxBody: "2 << 20",
		// AWS prints these members in this order, two of which its public model lacks.
		toString: map[string][]string{"PutEventsRequestEntry": {
			"Time", "Source", "Resources", "DetailType", "Detail", "EventBusName", "TraceHeader", "KmsKeyIdentifier", "InternalMetadata",
		}},
		enums: map[string][]string{"ApiDestinationHttpMethod": {"HEAD", "POST", "PATCH", "DELETE", "PUT", "GET", "OPTIONS"}},
		members: map[string][]string{
			"DescribeRuleResponse":  {"Name", "Arn", "EventPattern", "ScheduleExpression", "State", "Description", "RoleArn", "ManagedBy", "EventBusName", "CreatedBy"},
			"Rule":                  {"Name", "Arn", "EventPattern", "State", "Description", "ScheduleExpression", "RoleArn", "ManagedBy", "EventBusName"},
			"EventBus":              {"Name", "Arn", "Description", "Policy", "CreationTime", "LastModifiedTime"},
			"PutTargetsResponse":    {"FailedEntryCount", "FailedEntries"},
			"RemoveTargetsResponse": {"FailedEntryCount", "FailedEntries"},
			"PutEventsResponse":     {"FailedEntryCount", "Entries"},
			"DescribeEventBusResponse": {
				"Name", "Arn", "Description", "KmsKeyIdentifier", "DeadLetterConfig", "Policy", "LogConfig", "CreationTime", "LastModifiedTime",
			},
		},
	},
	{
		pkg: "sqs", queryModel: "sqs-query", signingName: "sqs", eventSource: "sqs.amazonaws.com",
		errorPrefix: "com.amazonaws.sqs#", maxBody: "4 << 20",
		validation: "awsapi.ValidationSQS", pathMember: "QueueUrl",
		errors: map[string]string{
			"InvalidParameterValueException":    "InvalidParameterValue",
			"MissingRequiredParameterException": "MissingParameter",
		},
	},
	{pkg: "ec2", signingName: "ec2", eventSource: "ec2.amazonaws.com", maxBody: "1 << 20", validation: "awsapi.ValidationEC2"},
	{pkg: "sns", signingName: "sns", eventSource: "sns.amazonaws.com", maxBody: "2 << 20"},
	{pkg: "logs", signingName: "logs", eventSource: "logs.amazonaws.com", maxBody: "4 << 20", validationCode: "InvalidParameterException"},
	{
		pkg: "lambda", signingName: "lambda", eventSource: "lambda.amazonaws.com", maxBody: "8 << 20", validationCode: "ValidationException",
		patterns: map[string]string{"CollectionName": `[_a-zA-Z0-9][^$]*`, "S3Bucket": `[0-9A-Za-z._-]*[0-9A-Za-z_-]`},
		slow:     map[string]int{"Invoke": 15*60 + 60}, // AWS: a function runs for 15 minutes at most
		// AWS: 50 MB of zip, which grows by a third in base64.
		large: map[string]string{"CreateFunction": "72 << 20", "UpdateFunctionCode": "72 << 20"},
		trailNames: map[string]string{
			"AddPermission":               "AddPermission20150331v2",
			"CreateEventSourceMapping":    "CreateEventSourceMapping20150331",
			"CreateFunction":              "CreateFunction20150331",
			"DeleteEventSourceMapping":    "DeleteEventSourceMapping20150331",
			"DeleteFunction":              "DeleteFunction20150331",
			"GetEventSourceMapping":       "GetEventSourceMapping20150331",
			"GetFunction":                 "GetFunction20150331v2",
			"GetFunctionConfiguration":    "GetFunctionConfiguration20150331v2",
			"GetPolicy":                   "GetPolicy20150331v2",
			"ListEventSourceMappings":     "ListEventSourceMappings20150331",
			"ListFunctions":               "ListFunctions20150331",
			"ListTags":                    "ListTags20170331",
			"RemovePermission":            "RemovePermission20150331v2",
			"TagResource":                 "TagResource20170331v2",
			"UntagResource":               "UntagResource20170331v2",
			"UpdateEventSourceMapping":    "UpdateEventSourceMapping20150331",
			"UpdateFunctionCode":          "UpdateFunctionCode20150331v2",
			"UpdateFunctionConfiguration": "UpdateFunctionConfiguration20150331v2",
		},
	},
	{pkg: "cloudcontrol", signingName: "cloudcontrolapi", eventSource: "cloudcontrolapi.amazonaws.com", maxBody: "2 << 20"},
	{
		pkg: "cloudformation", signingName: "cloudformation", eventSource: "cloudformation.amazonaws.com", maxBody: "4 << 20",
		// RegisterType takes the schema itself, in a data: URL, where AWS has the address of a package.
		lengths: map[string]int{"S3Url": 2 << 20},
	},
	{pkg: "sts", signingName: "sts", eventSource: "sts.amazonaws.com", maxBody: "256 << 10"},
}

// access classes an operation by its service and its name; the exceptions come first.
func access(service, operation string) string {
	if service == "lambda" && operation == "AddPermission" {
		return "awsapi.Administer" // it lets others run the function
	}
	switch operation {
	case "GetCallerIdentity":
		return "awsapi.Identity"
	case "PutEvents", "PutPartnerEvents", "SendMessage", "SendMessageBatch", "Publish", "PublishBatch", "PutLogEvents":
		return "awsapi.Publish"
	case "ReceiveMessage":
		return "awsapi.Receive"
	case "CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "Invoke", "CreateEventSourceMapping", "UpdateEventSourceMapping":
		return "awsapi.Administer"
	}
	for _, prefix := range []string{"Describe", "List", "Get", "Test", "Filter", "Validate"} {
		if strings.HasPrefix(operation, prefix) {
			return "awsapi.Read"
		}
	}
	return "awsapi.Write"
}

// data says of an operation that it moves what a resource carries rather than
// change the resource: a trail of management events has no such calls.
func data(operation string) bool {
	switch operation {
	case "PutEvents", "PutPartnerEvents", "PutLogEvents", "Invoke", "Publish", "PublishBatch",
		"SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch":
		return true
	}
	return false
}

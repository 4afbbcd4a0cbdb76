// Package exporter holds the templates of the exporter's queue and of an event rule, as
// users deploy them. The program deploys the same queue.
package exporter

import _ "embed" // of the templates

var (
	//go:embed queue.yaml
	queue string
	//go:embed lambda-rule.yaml
	lambdaRule string
)

// Queue is the CloudFormation template of the queue of event records.
func Queue() string { return queue }

// LambdaRule is the CloudFormation template of an event rule that tells the queue of
// every Lambda function that is made, changed or deleted.
func LambdaRule() string { return lambdaRule }

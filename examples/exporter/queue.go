// Package exporter holds the templates of the exporter's queue and of an event rule, as
// users deploy them. The program deploys the same queue.
package exporter

import _ "embed" // of the template

//go:embed queue.yaml
var queue string

// Queue is the CloudFormation template of the queue of event records.
func Queue() string { return queue }

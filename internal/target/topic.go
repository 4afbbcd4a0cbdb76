package target

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/bus"
)

// publish publishes the body to a topic, as the rule: its policy decides. AWS: without
// a subject, and without message attributes.
func (t *Targets) publish(ctx context.Context, a Attempt) error {
	topicARN := a.Subscription.Target.ARN
	at, err := parseARN(topicARN, "sns")
	if err != nil {
		return err
	}
	services, err := t.servicesFor(ctx, a, at)
	if err != nil {
		return err
	}
	if services.Topics == nil {
		return notServed(bus.KindTopic, topicARN)
	}
	ctx, requestID := asRule(ctx, a, a.Subscription.Bus.Account, at.region, "sns", "Publish")
	if _, err := services.Topics.Publish(ctx, &sns.PublishInput{TopicArn: &topicARN, Message: new(string(a.Body))}); err != nil {
		return t.serviceFailure(ctx, serviceTopics, err, requestID)
	}
	return nil
}

package target

import (
	"context"
	"net/http"
)

// invokeFunction hands the body to a Lambda function, as the rule: its policy
// decides. AWS: asynchronously; that Lambda accepts it is success, and what the
// function makes of it is Lambda's own business.
func (t *Targets) invokeFunction(ctx context.Context, a Attempt) error {
	at, err := parseARN(a.Subscription.Target.ARN, "lambda")
	if err != nil {
		return err
	}
	services, err := t.servicesFor(ctx, a, at)
	if err != nil {
		return err
	}
	ctx, requestID := asRule(ctx, a, a.Subscription.Bus.Account, at.region, "lambda", "Invoke")
	if services.Functions == nil {
		missing := serviceAnswer{
			code: "ResourceNotFoundException", message: "Function not found: " + a.Subscription.Target.ARN, status: http.StatusNotFound, requestID: requestID,
		}
		return missing.failure(serviceFunctions)
	}
	if err := services.Functions.Invoke(ctx, a.Subscription.Target.ARN, a.Body); err != nil {
		return t.serviceFailure(ctx, serviceFunctions, err, requestID)
	}
	return nil
}

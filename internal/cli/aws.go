package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/cobra"
)

// awsAPI is a server's AWS APIs in a region, for commands that go by them.
type awsAPI struct {
	c      *client
	region string
}

// regional gives a command the flags of those that speak to a server's AWS APIs.
func (a *awsAPI) regional(cmd *cobra.Command) *cobra.Command {
	region := envOr("AWS_REGION", envOr("AWS_DEFAULT_REGION", "us-east-1"))
	cmd.Flags().StringVar(&a.region, "region", region, "region (AWS_REGION, AWS_DEFAULT_REGION)")
	return remote(cmd, a.c)
}

// config is how the SDK's clients reach the server. Without an access key in the environment they have one that
// only dev mode takes.
func (a *awsAPI) config() aws.Config {
	id, secret := accessKey()
	if id == "" {
		id, secret = demoAccount, "any"
	}
	return aws.Config{
		Region: a.region, BaseEndpoint: &a.c.server, Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
		HTTPClient: &http.Client{Timeout: callTimeout}, RetryMaxAttempts: 3,
	}
}

// fails turns an error of the SDK into the one that a user is told.
func (a *awsAPI) fails(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := a.c.noURL(); err != nil {
		return err
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		refused := &refusedError{code: api.ErrorCode(), message: api.ErrorMessage()}
		if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
			refused.status = resp.HTTPStatusCode()
		}
		if id, _ := accessKey(); id == "" && (refused.status == http.StatusForbidden || refused.status == http.StatusUnauthorized) {
			return fmt.Errorf("%w\n%s; keys of AWS are not sent to it", refused, closedHint)
		}
		switch refused.code {
		case "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException":
			return fmt.Errorf("%w\n%s", refused, closedHint)
		}
		return refused
	}
	if broken, ok := errors.AsType[*url.Error](err); ok {
		if os.IsTimeout(broken) {
			return fmt.Errorf("the server at %s did not answer in time; whether it was done is not known", a.c.server)
		}
		return &unreachableError{a.c.server, broken.Err}
	}
	return err
}

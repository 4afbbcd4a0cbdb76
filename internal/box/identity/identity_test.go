package identity

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

func TestCallerIsToldTheirAccountAndKey(t *testing.T) {
	for region, arn := range map[string]string{
		"eu-west-1":  "arn:aws:iam::111122223333:user/RKEXAMPLE",
		"cn-north-1": "arn:aws-cn:iam::111122223333:user/RKEXAMPLE",
	} {
		ctx := awsapi.WithCaller(t.Context(), awsapi.Caller{Account: "111122223333", AccessKeyID: "RKEXAMPLE", Region: region})
		out, err := Identity{}.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if *out.Account != "111122223333" || *out.UserId != "RKEXAMPLE" || *out.Arn != arn {
			t.Errorf("%s: %s %s %s", region, *out.Account, *out.UserId, *out.Arn)
		}
	}
}

func TestNoCredentialsAreGivenOut(t *testing.T) {
	_, err := Identity{}.AssumeRole(t.Context(), &sts.AssumeRoleInput{})
	if !awsapi.HasCode(err, "UnknownOperationException") {
		t.Errorf("error %v", err)
	}
}

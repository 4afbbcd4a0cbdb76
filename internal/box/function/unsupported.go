package function

import "github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"

// unsupported is a parameter that asks for something which is not served here.
type unsupported struct {
	parameter string
	asked     bool
	why       string
}

// refuse returns the error of the first that is asked for.
func refuse(list ...unsupported) error {
	for _, u := range list {
		if u.asked {
			return errUnsupported(u.parameter, u.why)
		}
	}
	return nil
}

const (
	onlyZip  = "a function's code is a zip, sent as ZipFile."
	oneOnly  = "a function has no versions but $LATEST."
	noneHere = "there are none here. Leave it out."
)

// refuseInCreate refuses by name what CreateFunction has and this package has not. Empty
// values and AWS's defaults ask for nothing.
func refuseInCreate(in *lambda.CreateFunctionInput) error {
	return refuse(
		unsupported{"PackageType Image", text(in.PackageType) == lambda.PackageTypeImage, onlyZip},
		unsupported{"Code.ImageUri", text(in.Code.ImageUri) != "", onlyZip},
		unsupported{"Code.S3Bucket", text(in.Code.S3Bucket) != "", onlyZip},
		unsupported{"Code.S3Key", text(in.Code.S3Key) != "", onlyZip},
		unsupported{"Code.S3ObjectVersion", text(in.Code.S3ObjectVersion) != "", onlyZip},
		unsupported{"Code.SourceKMSKeyArn", text(in.Code.SourceKMSKeyArn) != "", "there are no KMS keys here. Leave it out."},
		unsupported{"Publish", in.Publish != nil && *in.Publish, oneOnly},
		unsupported{"PublishTo", text(in.PublishTo) != "", oneOnly},
		unsupported{"CodeSigningConfigArn", text(in.CodeSigningConfigArn) != "", "signatures of code are not checked. Leave it out."},
		unsupported{"TenancyConfig", in.TenancyConfig != nil, "functions do not tell tenants apart. Leave it out."},
		unsupportedImage(in.ImageConfig), unsupportedLayers(in.Layers), unsupportedVPC(in.VpcConfig), unsupportedFiles(in.FileSystemConfigs),
		unsupportedSnapStart(in.SnapStart), unsupportedTracing(in.TracingConfig), unsupportedKey(in.KMSKeyArn),
		unsupportedDurable(in.DurableConfig), unsupportedCapacity(in.CapacityProviderConfig),
	)
}

func refuseInCode(in *lambda.UpdateFunctionCodeInput) error {
	return refuse(
		unsupported{"ImageUri", text(in.ImageUri) != "", onlyZip},
		unsupported{"S3Bucket", text(in.S3Bucket) != "", onlyZip},
		unsupported{"S3Key", text(in.S3Key) != "", onlyZip},
		unsupported{"S3ObjectVersion", text(in.S3ObjectVersion) != "", onlyZip},
		unsupported{"SourceKMSKeyArn", text(in.SourceKMSKeyArn) != "", "there are no KMS keys here. Leave it out."},
		unsupported{"Publish", in.Publish != nil && *in.Publish, oneOnly},
		unsupported{"PublishTo", text(in.PublishTo) != "", oneOnly},
	)
}

func refuseInConfiguration(in *lambda.UpdateFunctionConfigurationInput) error {
	return refuse(
		unsupportedImage(in.ImageConfig), unsupportedLayers(in.Layers), unsupportedVPC(in.VpcConfig), unsupportedFiles(in.FileSystemConfigs),
		unsupportedSnapStart(in.SnapStart), unsupportedTracing(in.TracingConfig), unsupportedKey(in.KMSKeyArn),
		unsupportedDurable(in.DurableConfig), unsupportedCapacity(in.CapacityProviderConfig),
	)
}

func unsupportedImage(c *lambda.ImageConfig) unsupported {
	asked := c != nil && (len(c.Command) > 0 || len(c.EntryPoint) > 0 || text(c.WorkingDirectory) != "")
	return unsupported{"ImageConfig", asked, onlyZip}
}

func unsupportedLayers(list []string) unsupported {
	return unsupported{"Layers", len(list) > 0, "there are none here. Put what they hold into the function's zip."}
}

func unsupportedVPC(c *lambda.VpcConfig) unsupported {
	asked := c != nil && (len(c.SubnetIds) > 0 || len(c.SecurityGroupIds) > 0 || c.Ipv6AllowedForDualStack != nil && *c.Ipv6AllowedForDualStack)
	return unsupported{"VpcConfig", asked, "functions have this machine's network. Leave it out."}
}

func unsupportedFiles(list []lambda.FileSystemConfig) unsupported {
	return unsupported{"FileSystemConfigs", len(list) > 0, noneHere}
}

func unsupportedSnapStart(c *lambda.SnapStart) unsupported {
	asked := c != nil && text(c.ApplyOn) != "" && *c.ApplyOn != lambda.SnapStartApplyOnNone
	return unsupported{"SnapStart.ApplyOn " + lambda.SnapStartApplyOnPublishedVersions, asked, "processes are not snapshotted. Leave it out."}
}

func unsupportedTracing(c *lambda.TracingConfig) unsupported {
	asked := c != nil && text(c.Mode) == lambda.TracingModeActive
	return unsupported{"TracingConfig.Mode Active", asked, "there is no X-Ray here. PassThrough hands a caller's trace header on."}
}

func unsupportedKey(arn *string) unsupported {
	return unsupported{"KMSKeyArn", text(arn) != "", "environment variables are encrypted under this server's own key. Leave it out."}
}

func unsupportedDurable(c *lambda.DurableConfig) unsupported {
	return unsupported{"DurableConfig", c != nil && (c.ExecutionTimeout != nil || c.RetentionPeriodInDays != nil), "executions are not durable. Leave it out."}
}

func unsupportedCapacity(c *lambda.CapacityProviderConfig) unsupported {
	return unsupported{"CapacityProviderConfig", c != nil, "functions run on this machine. Leave it out."}
}

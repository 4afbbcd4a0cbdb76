package function

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/event"
)

// newConfiguration is what CreateFunction asks for.
func newConfiguration(name string, in *lambda.CreateFunctionInput) (Configuration, error) {
	if err := checkArchitectures(in.Architectures); err != nil {
		return Configuration{}, err
	}
	return defaults(name).with(&lambda.UpdateFunctionConfigurationInput{
		DeadLetterConfig: in.DeadLetterConfig, Description: in.Description, Environment: in.Environment, EphemeralStorage: in.EphemeralStorage,
		Handler: in.Handler, LoggingConfig: in.LoggingConfig, MemorySize: in.MemorySize, Role: in.Role, Runtime: in.Runtime, Timeout: in.Timeout,
	})
}

// with is the configuration once it was updated. What the update does not mention stays.
func (c Configuration) with(in *lambda.UpdateFunctionConfigurationInput) (Configuration, error) {
	set(&c.Runtime, in.Runtime)
	set(&c.Handler, in.Handler)
	set(&c.Role, in.Role)
	set(&c.Description, in.Description)
	set(&c.Timeout, in.Timeout)
	set(&c.MemorySize, in.MemorySize)
	if in.EphemeralStorage != nil {
		set(&c.EphemeralStorage, in.EphemeralStorage.Size)
	}
	if in.DeadLetterConfig != nil {
		c.DeadLetter = text(in.DeadLetterConfig.TargetArn)
	}
	if in.Environment != nil {
		c.Environment = maps.Clone(in.Environment.Variables)
	}
	if in.LoggingConfig == nil {
		return c, nil
	}
	return c, c.Logging.update(in.LoggingConfig)
}

func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// update changes what the request mentions. AWS: levels are for JSON only, and INFO without one.
func (l *Logging) update(in *lambda.LoggingConfig) error {
	set(&l.Format, in.LogFormat)
	set(&l.Group, in.LogGroup)
	if l.Format != lambda.LogFormatJson {
		if in.ApplicationLogLevel != nil || in.SystemLogLevel != nil {
			return errParameter("ApplicationLogLevel and SystemLogLevel are supported when LogFormat is set to JSON only.")
		}
		l.ApplicationLevel, l.SystemLevel = "", ""
		return nil
	}
	if l.ApplicationLevel == "" {
		l.ApplicationLevel, l.SystemLevel = lambda.ApplicationLogLevelInfo, lambda.SystemLogLevelInfo
	}
	set(&l.ApplicationLevel, in.ApplicationLogLevel)
	set(&l.SystemLevel, in.SystemLogLevel)
	return nil
}

// lastModified is AWS's form of a time in unix milliseconds.
func lastModified(at int64) string {
	return time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000+0000")
}

// describe is the function as AWS describes it, with the qualifier in its ARN that the request has.
func (fn *Function) describe(qualifier string) lambda.FunctionConfiguration {
	c := &fn.Configuration
	out := lambda.FunctionConfiguration{
		Architectures: []string{c.Architecture}, CodeSha256: new(fn.codeSum()), CodeSize: new(fn.CodeSize), Description: new(c.Description),
		EphemeralStorage: &lambda.EphemeralStorage{Size: new(c.EphemeralStorage)},
		FunctionArn:      new(qualified(fn, qualifier)), FunctionName: new(fn.Name), Handler: new(c.Handler),
		LastModified: new(lastModified(fn.Modified)), LastUpdateStatus: new(lambda.LastUpdateStatusSuccessful),
		LoggingConfig: c.Logging.describe(), MemorySize: new(c.MemorySize), PackageType: new(lambda.PackageTypeZip), RevisionId: new(fn.Revision),
		Role: new(c.Role), Runtime: new(c.Runtime), RuntimeVersionConfig: &lambda.RuntimeVersionConfig{RuntimeVersionArn: new(runtimeVersion(fn.Region, c.Runtime))},
		SnapStart: &lambda.SnapStartResponse{ApplyOn: new(lambda.SnapStartApplyOnNone), OptimizationStatus: new(lambda.SnapStartOptimizationStatusOff)},
		State:     new(lambda.StateActive), Timeout: new(c.Timeout), TracingConfig: &lambda.TracingConfigResponse{Mode: new(lambda.TracingModePassThrough)},
		Version: new(latest),
	}
	if len(c.Environment) > 0 {
		out.Environment = &lambda.EnvironmentResponse{Variables: maps.Clone(c.Environment)}
	}
	if c.DeadLetter != "" {
		out.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: new(c.DeadLetter)}
	}
	return out
}

func (l Logging) describe() *lambda.LoggingConfig {
	out := &lambda.LoggingConfig{LogFormat: new(l.Format), LogGroup: new(l.Group)}
	if l.Format == lambda.LogFormatJson {
		out.ApplicationLogLevel, out.SystemLogLevel = new(l.ApplicationLevel), new(l.SystemLevel)
	}
	return out
}

// codeSum is the SHA-256 of the deployment package in base64, as AWS writes it.
func (fn *Function) codeSum() string {
	sum, _ := hex.DecodeString(fn.CodeSHA256) // we wrote it
	return base64.StdEncoding.EncodeToString(sum)
}

// runtimeVersion is the ARN of what runs a runtime. There is one version of each here, named by the
// SHA-256 of the runtime's name.
func runtimeVersion(region, name string) string {
	sum := sha256.Sum256([]byte("rialto:" + name))
	return "arn:" + event.Partition(region) + ":lambda:" + region + "::runtime:" + hex.EncodeToString(sum[:])
}

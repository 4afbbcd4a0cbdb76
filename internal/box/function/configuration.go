package function

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	goruntime "runtime"
	"slices"
	"strings"
	"unicode"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
)

// Configuration is what UpdateFunctionConfiguration changes, with AWS's names and units.
type Configuration struct {
	Runtime, Handler, Role, Description string
	// Timeout is in seconds, MemorySize and EphemeralStorage in MiB.
	Timeout, MemorySize, EphemeralStorage int32
	Architecture                          string
	// DeadLetter is the ARN of the queue or topic for failed asynchronous invocations; empty: none.
	DeadLetter string
	Logging    Logging
	// Environment are the environment variables. They are stored apart, encrypted.
	Environment map[string]string `json:"-"`
}

// Logging is how and where a function logs.
type Logging struct {
	// Format is Text or JSON. The levels are for JSON only, else empty.
	Format, ApplicationLevel, SystemLevel string
	// Group is the name of the log group.
	Group string
}

// AWS's limits of a configuration that its model leaves to the service.
const (
	longestTimeout = 900
	maxMemory      = 10240
	maxEnvironment = 4 << 10
)

// defaults is a configuration as AWS has it where a request says nothing.
func defaults(name string) Configuration {
	return Configuration{
		Timeout: 3, MemorySize: 128, EphemeralStorage: 512, Architecture: machine(),
		Logging: Logging{Format: lambda.LogFormatText, Group: "/aws/lambda/" + name},
	}
}

// machine is AWS's name of the architecture that this machine can run.
func machine() string {
	if goruntime.GOARCH == "arm64" {
		return lambda.ArchitectureArm64
	}
	return lambda.ArchitectureX8664
}

// checkArchitectures refuses what this machine cannot run. None given means this machine's.
func checkArchitectures(list []string) error {
	switch {
	case len(list) > 1:
		return errParameter("A function can have one architecture, not %d.", len(list))
	case len(list) == 1 && list[0] != machine():
		return errUnsupported("The architecture "+list[0], "this server's machine runs "+machine()+".")
	}
	return nil
}

// check returns AWS's error of the first value that cannot be honoured.
func (f *Functions) check(r Ref, c *Configuration) error {
	if c.Runtime == "" || c.Handler == "" {
		return errParameter("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	if err := f.o.Runtime.Available(c.Runtime); err != nil {
		return runtimeFault(c.Runtime, err)
	}
	switch {
	case c.Timeout > longestTimeout:
		return errConstraint(c.Timeout, "timeout", "have value less than or equal to 900")
	case c.MemorySize > maxMemory:
		return errConstraint(c.MemorySize, "memorySize", "have value less than or equal to 10240")
	case strings.ContainsFunc(c.Handler, unicode.IsControl):
		return errParameter("The handler %q contains control characters.", c.Handler)
	}
	if err := checkRole(r, c.Role); err != nil {
		return err
	}
	if err := checkDeadLetter(r, c.DeadLetter); err != nil {
		return err
	}
	return checkEnvironment(c.Environment)
}

// runtimeFault tells of a runtime that cannot run here.
func runtimeFault(name string, err error) error {
	if errors.Is(err, runtime.ErrNoInterpreter) {
		return lambda.ErrInvalidParameterValueException("The runtime %s cannot run on this machine: %v. Install it, or start the server with a PATH that has it.", name, err)
	}
	if errors.Is(err, runtime.ErrUnknownRuntime) {
		return errUnsupported("The runtime "+name, err.Error()+".")
	}
	return err
}

var roleAccount = regexp.MustCompile(`^arn:aws[a-z-]*:iam::(\d{12}):role/.+$`)

// checkRole checks the form of a role and whose it is: no role is looked up.
func checkRole(r Ref, arn string) error {
	m := roleAccount.FindStringSubmatch(arn)
	if m == nil {
		return errParameter("The role %q is not the ARN of an IAM role, such as arn:aws:iam::%s:role/NAME.", arn, r.Account)
	}
	if m[1] != r.Account {
		return &awsapi.Error{Code: "AccessDeniedException", Message: "Cross-account pass role is not allowed.", Status: 403}
	}
	return nil
}

var deadLetterForm = regexp.MustCompile(`^arn:aws[a-z-]*:(sqs|sns):([a-z0-9-]+):(\d{12}):([A-Za-z0-9_.-]{1,256})$`)

// checkDeadLetter checks the target of failed asynchronous invocations. AWS: a standard queue or a
// standard topic of the function's region.
func checkDeadLetter(r Ref, arn string) error {
	if arn == "" {
		return nil
	}
	m := deadLetterForm.FindStringSubmatch(arn)
	switch {
	case m == nil:
		return errParameter("The provided dead letter target %q is neither the ARN of an SQS queue nor that of an SNS topic.", arn)
	case strings.HasSuffix(m[4], ".fifo"):
		return errParameter("The provided dead letter target %s is FIFO: it must be a standard queue or topic.", arn)
	case m[2] != r.Region:
		return errParameter("The provided dead letter target %s is in another region than the function, %s.", arn, r.Region)
	}
	return nil
}

// checkEnvironment checks environment variables, of which AWS takes 4 KB, counted as JSON.
func checkEnvironment(vars map[string]string) error {
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if runtime.ReservedVariable(name) {
			taken = append(taken, name)
		}
		if strings.ContainsRune(vars[name], 0) {
			return errParameter("The environment variable %s contains a NUL, which no environment can hold.", name)
		}
	}
	if len(taken) > 0 {
		return errParameter("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(taken, ", "))
	}
	measured, err := json.Marshal(vars)
	if err != nil {
		return errParameter("The environment variables are not text: %v", err)
	}
	if len(measured) > maxEnvironment {
		return errParameter("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. They have %d bytes as JSON, and may have %d.", len(measured), maxEnvironment)
	}
	return nil
}

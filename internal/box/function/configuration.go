package function

import (
	"maps"
	goruntime "runtime"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
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

// clone returns a copy that shares nothing.
func (c Configuration) clone() Configuration {
	c.Environment = maps.Clone(c.Environment)
	return c
}

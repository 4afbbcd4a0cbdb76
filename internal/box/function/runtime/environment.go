package runtime

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// reserved are the variables that Lambda sets and a function's configuration may not. AWS:
// "Defined runtime environment variables". Those that begin with AWS_LAMBDA_ and are
// not listed are free.
var reserved = map[string]bool{
	"_HANDLER": true, "_X_AMZN_TRACE_ID": true, "AWS_DEFAULT_REGION": true, "AWS_REGION": true, "AWS_EXECUTION_ENV": true,
	"AWS_LAMBDA_FUNCTION_NAME": true, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": true, "AWS_LAMBDA_FUNCTION_VERSION": true,
	"AWS_LAMBDA_INITIALIZATION_TYPE": true, "AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true,
	"AWS_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true, "AWS_SECRET_ACCESS_KEY": true, "AWS_SESSION_TOKEN": true,
	"AWS_LAMBDA_RUNTIME_API": true, "LAMBDA_TASK_ROOT": true, "LAMBDA_RUNTIME_DIR": true,
}

// ReservedVariable says whether Lambda sets the environment variable itself, so that a
// function's configuration must not.
func ReservedVariable(name string) bool { return reserved[name] }

const streamVariable = "AWS_LAMBDA_LOG_STREAM_NAME"

// environment is all that a process has: what Lambda gives, what the options give, and
// the function's own, of which each goes before the last, but for reserved variables. Nothing is inherited.
func (s *process) environment(cmd *command) []string {
	fn := s.fn
	path := "/usr/local/bin:/usr/bin:/bin:/opt/bin"
	if cmd.interpreted {
		path = filepath.Dir(cmd.path) + ":" + path // the interpreter finds itself
	}
	env := map[string]string{
		"PATH": path, "LANG": "en_US.UTF-8", "TZ": ":UTC", "HOME": s.home(), "TMPDIR": s.temp(),
		"LD_LIBRARY_PATH": fn.Dir + ":" + filepath.Join(fn.Dir, "lib"),
	}
	if s.pool.opt.Environment != nil {
		for _, pair := range s.pool.opt.Environment(fn.Account, fn.Region) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
	}
	for name, value := range fn.Environment {
		if !reserved[name] {
			env[name] = value
		}
	}
	maps.Copy(env, map[string]string{
		"_HANDLER": fn.Handler, "AWS_REGION": fn.Region, "AWS_DEFAULT_REGION": fn.Region,
		"AWS_LAMBDA_FUNCTION_NAME": fn.Name, "AWS_LAMBDA_FUNCTION_VERSION": fn.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(fn.MemoryMB), "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME": fn.LogGroup, streamVariable: s.out.name,
		"AWS_LAMBDA_RUNTIME_API": s.listener.Addr().String(), "LAMBDA_TASK_ROOT": fn.Dir, "LAMBDA_RUNTIME_DIR": cmd.runtimeDir,
	})
	if cmd.interpreted {
		env["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + fn.Runtime // AWS: not for custom runtimes
	}
	if fn.LogFormat == FormatJSON {
		env["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
		env["AWS_LAMBDA_LOG_LEVEL"] = fn.ApplicationLogLevel
		if fn.ApplicationLogLevel == "" {
			env["AWS_LAMBDA_LOG_LEVEL"] = "INFO"
		}
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

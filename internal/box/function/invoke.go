package function

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/box/function/runtime"
)

// available returns why functions are neither created nor run; nil if they are.
func (f *Functions) available() error {
	if !f.o.Enabled() {
		return errDisabled()
	}
	return nil
}

// run runs the function now and waits for what comes of it. The caller has been authorized.
// Its errors are those of package runtime and say that the function was not run.
func (f *Functions) run(ctx context.Context, fn *Function, in runtime.Invocation) (runtime.Result, error) {
	if err := f.available(); err != nil {
		return runtime.Result{}, err
	}
	dir, done, err := f.code.use(ctx, fn.CodeSHA256, func(ctx context.Context) ([]byte, error) { return f.loadCode(ctx, fn.CodeSHA256) })
	if err != nil {
		return runtime.Result{}, err
	}
	defer done()
	return f.o.Runtime.Invoke(ctx, fn.runnable(dir), in)
}

// runnable is the function as package runtime takes it.
func (fn *Function) runnable(dir string) runtime.Function {
	c := &fn.Configuration
	return runtime.Function{
		ARN: fn.ARN(), Name: fn.Name, Account: fn.Account, Region: fn.Region, Version: latest, Revision: fn.processRevision(),
		Runtime: c.Runtime, Handler: c.Handler, Dir: dir, Environment: c.Environment,
		Timeout: time.Duration(c.Timeout) * time.Second, MemoryMB: int(c.MemorySize),
		LogGroup: c.Logging.Group, LogFormat: c.Logging.Format,
		ApplicationLogLevel: c.Logging.ApplicationLevel, SystemLogLevel: c.Logging.SystemLevel,
	}
}

// processRevision changes with code and configuration only: a new permission starts no new
// processes. It holds the id too, for a function deleted and created again.
func (fn *Function) processRevision() string {
	text, _ := json.Marshal(struct {
		ID            int64
		Code          string
		Configuration Configuration
		Environment   map[string]string
	}{fn.id, fn.CodeSHA256, fn.Configuration, fn.Configuration.Environment}) // strings and numbers always encode
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
